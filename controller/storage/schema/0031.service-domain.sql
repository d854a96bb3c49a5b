-- What the service domain is for beside the names of servers: each is the operator's choice (R21).
-- depends: 0030.repairs

ALTER TABLE cluster
    ADD COLUMN third_level boolean NOT NULL DEFAULT false;  -- customers' domains directly below it

GRANT UPDATE (third_level) ON cluster TO hs_runtime;
