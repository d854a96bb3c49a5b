-- What the service domain is for beside the names of servers: each is the operator's choice (R21,
-- R22).
-- depends: 0030.repairs

ALTER TABLE cluster
    ADD COLUMN third_level    boolean NOT NULL DEFAULT false,  -- customers' domains directly below it
    ADD COLUMN instant_access boolean NOT NULL DEFAULT false;  -- new sites have an alias below it

ALTER TABLE site
    ADD COLUMN alias text COLLATE "C" UNIQUE;  -- the one label before the service domain

GRANT UPDATE (third_level, instant_access) ON cluster TO hs_runtime;
