-- Changes that a hazard holds back: what was asked, by whom, and what somebody must accept of it.
-- Nothing of what they would do is written until then.
-- depends: 0021.drift

CREATE TABLE held_change (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    actor        text NOT NULL,                 -- who asked
    origin       text NOT NULL DEFAULT '',
    command      text NOT NULL,
    request      jsonb NOT NULL,                -- values of secret fields left out
    secret_id    bigint REFERENCES secret,      -- those values, sealed, while it is held
    request_hash bytea NOT NULL,                -- the same asked again by the same one is held once
    reason       text NOT NULL DEFAULT '',
    hazards      jsonb NOT NULL,                -- [{"id": ..., "number": ..., "words": ...}, ...]
    plan         jsonb NOT NULL,                -- what it would do, in words
    state        text NOT NULL DEFAULT 'held'
                 CHECK (state IN ('held', 'approved', 'withdrawn', 'expired')),
    held_at      timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    ended_at     timestamptz,
    ended_by     text NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX held_change_once ON held_change (actor, request_hash) WHERE state = 'held';
CREATE INDEX held_change_expires ON held_change (expires_at) WHERE state = 'held';

-- The answer that a request got which was held back, for whoever sends it again.
ALTER TABLE idempotency ADD COLUMN held_id bigint;

GRANT SELECT, INSERT, UPDATE, DELETE ON held_change TO hs_runtime;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO hs_runtime;
ALTER TABLE held_change ENABLE ROW LEVEL SECURITY;
ALTER TABLE held_change FORCE ROW LEVEL SECURITY;
CREATE POLICY provider ON held_change USING (hs_provider()) WITH CHECK (hs_provider());
