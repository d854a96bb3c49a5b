-- Objects that a lane applied before all older ones: what a person waits for overtakes a fill.
-- depends: 0001.first-light

CREATE TABLE applied_early (
    box_id            uuid NOT NULL,
    logical_server_id uuid NOT NULL,
    kind              text COLLATE "C" NOT NULL,
    key               text COLLATE "C" NOT NULL,
    revision          bigint NOT NULL,             -- the box was seen to have applied this one
    PRIMARY KEY (box_id, logical_server_id, kind, key)
);

GRANT SELECT, INSERT, UPDATE, DELETE ON applied_early TO hs_runtime;
-- What became of an object is for whoever sees the object.
ALTER TABLE applied_early ENABLE ROW LEVEL SECURITY;
ALTER TABLE applied_early FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON applied_early USING (hs_provider() OR EXISTS (
    SELECT FROM desired_object d
    WHERE d.logical_server_id = applied_early.logical_server_id
      AND d.kind = applied_early.kind AND d.key = applied_early.key));
