-- How new sites and zones are placed in a server group, and how much each logical server holds.
-- depends: 0015.zone-moves

-- Sites or zones placed on it. Kept by the statement that writes a change, which has locked the row.
ALTER TABLE logical_server ADD COLUMN holds integer NOT NULL DEFAULT 0;

SET LOCAL hs.principal = 'provider';
UPDATE logical_server s SET holds = o.count
FROM (SELECT logical_server_id, count(*) FROM desired_object
      WHERE kind IN ('zone', 'site') AND NOT deleted GROUP BY logical_server_id) o
WHERE o.logical_server_id = s.id;

-- A group without a row is placed at random.
CREATE TABLE placement (
    group_name text PRIMARY KEY,
    policy     text NOT NULL DEFAULT 'random'
               CHECK (policy IN ('random', 'least-used', 'weighted', 'pinned'))
);

CREATE TABLE placement_server (
    logical_server_id uuid PRIMARY KEY REFERENCES logical_server ON DELETE CASCADE,
    group_name        text NOT NULL REFERENCES placement,
    weight            integer NOT NULL DEFAULT 1 CHECK (weight BETWEEN 1 AND 1000)
);                                                  -- of the policy pinned: the server itself
CREATE INDEX placement_server_group ON placement_server (group_name);

GRANT SELECT, INSERT, UPDATE, DELETE ON placement, placement_server TO hs_runtime;
