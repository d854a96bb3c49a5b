-- Samples of how much of a box is in use, in three rings: ten seconds for an hour, a minute for a
-- day, a quarter of an hour for thirty days. A row is a place in a ring, used again when the ring
-- has gone round, so a box never has more than 4,680 of them.
-- depends: 0001.first-light

ALTER TABLE box ADD COLUMN IF NOT EXISTS monitoring boolean NOT NULL DEFAULT true;   -- R250

CREATE TABLE box_sample (
    box_id       uuid NOT NULL REFERENCES box ON DELETE CASCADE,
    step         integer NOT NULL,            -- seconds that a row stands for
    slot         integer NOT NULL CHECK (slot >= 0),
    at           timestamptz NOT NULL,        -- the beginning of the step
    samples      integer NOT NULL,            -- how many the row is the mean of
    processor    real NOT NULL,               -- share in use, 0 to 100
    load         real NOT NULL,
    memory_used  double precision NOT NULL,   -- bytes
    memory_total double precision NOT NULL,
    disk_used    double precision NOT NULL,   -- of the fullest disk
    disk_total   double precision NOT NULL,
    disk_read    real NOT NULL,               -- bytes a second
    disk_written real NOT NULL,
    net_received real NOT NULL,
    net_sent     real NOT NULL,
    PRIMARY KEY (box_id, step, slot),
    CHECK (step = 10 AND slot < 360 OR step = 60 AND slot < 1440 OR step = 900 AND slot < 2880)
) WITH (fillfactor = 80);

GRANT SELECT, INSERT, UPDATE, DELETE ON box_sample TO hs_runtime;
ALTER TABLE box_sample ENABLE ROW LEVEL SECURITY;
ALTER TABLE box_sample FORCE ROW LEVEL SECURITY;
CREATE POLICY provider ON box_sample USING (hs_provider()) WITH CHECK (hs_provider());
