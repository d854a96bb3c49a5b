-- Settings that go to all logical servers of a type in waves, each written once the one before is live.
-- depends: 0023.held-changes

CREATE TABLE rollout (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    actor        text NOT NULL,
    service_type text NOT NULL,
    settings     jsonb NOT NULL,
    waves        jsonb NOT NULL,                -- [[server id, ...], ...]
    wave         integer NOT NULL DEFAULT 0,    -- so many are written
    change_id    bigint,                        -- of the last of them, while it must become live
    state        text NOT NULL DEFAULT 'running'
                 CHECK (state IN ('running', 'paused', 'stopped', 'done')),
    message      text NOT NULL DEFAULT '',      -- what it waits for, or why it is paused
    started_at   timestamptz NOT NULL DEFAULT now(),
    ended_at     timestamptz
);
CREATE UNIQUE INDEX rollout_open ON rollout (service_type) WHERE ended_at IS NULL;

GRANT SELECT, INSERT, UPDATE, DELETE ON rollout TO hs_runtime;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO hs_runtime;
ALTER TABLE rollout ENABLE ROW LEVEL SECURITY;
ALTER TABLE rollout FORCE ROW LEVEL SECURITY;
CREATE POLICY provider ON rollout USING (hs_provider()) WITH CHECK (hs_provider());
