-- depends: 0001.first-light
-- The changes that touched one thing, by its name.

CREATE INDEX change_row_key ON change_row (row_key, change_id);
