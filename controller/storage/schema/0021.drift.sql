-- Drift: files that a box found otherwise than its agent wrote them, as the box tells it. Bounded by
-- the wire: a box tells of a hundred files of a lane and counts the rest.
-- depends: 0015.zone-moves

ALTER TABLE lane
    ADD COLUMN files integer NOT NULL DEFAULT 0,    -- that the agent wrote there
    ADD COLUMN drifted integer NOT NULL DEFAULT 0,  -- of these, found otherwise
    ADD COLUMN verified_at timestamptz;             -- when all of them were last looked at

CREATE TABLE drift_finding (
    box_id            uuid NOT NULL,
    logical_server_id uuid NOT NULL,
    path              text NOT NULL,                -- below the lane's directory
    what              text NOT NULL CHECK (what IN ('changed', 'missing', 'kind', 'mode', 'owner')),
    words             text NOT NULL,
    since             timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (box_id, logical_server_id, path),
    FOREIGN KEY (box_id, logical_server_id) REFERENCES lane ON DELETE CASCADE
);

GRANT SELECT, INSERT, UPDATE, DELETE ON drift_finding TO hs_runtime;
ALTER TABLE drift_finding ENABLE ROW LEVEL SECURITY;
ALTER TABLE drift_finding FORCE ROW LEVEL SECURITY;
CREATE POLICY provider ON drift_finding USING (hs_provider()) WITH CHECK (hs_provider());
