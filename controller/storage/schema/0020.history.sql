-- Which change another one undoes, and every version of one object whatever server it was on.
-- depends: 0015.zone-moves

ALTER TABLE change ADD COLUMN undoes bigint REFERENCES change;
CREATE INDEX change_undoes ON change (undoes) WHERE undoes IS NOT NULL;
CREATE INDEX change_object_named ON change_object (kind, key, change_id);
