-- A repair outlives the session that found it: what the comparison has noted is the truth of the box,
-- so nothing else would tell that objects are still to be sent again.
-- depends: 0021.drift

ALTER TABLE lane
    ADD COLUMN repairing boolean NOT NULL DEFAULT false;  -- compared, and not all of it sent again
