-- What people decide of a box beyond its groups, and enrolment over SSH.
-- depends: 0001.first-light

ALTER TABLE box ADD COLUMN IF NOT EXISTS description text NOT NULL DEFAULT '';
ALTER TABLE box ADD COLUMN IF NOT EXISTS monitoring boolean NOT NULL DEFAULT true;   -- R250
ALTER TABLE box ADD COLUMN IF NOT EXISTS retired_at timestamptz;   -- gone for good; keeps its lanes
ALTER TABLE box ADD COLUMN IF NOT EXISTS ssh_host_key text;        -- pinned, as SHA256:...

-- The last enrolment over SSH of each box. Never the password, and never the token.
CREATE TABLE ssh_enrolment (
    box_id     uuid PRIMARY KEY REFERENCES box ON DELETE CASCADE,
    id         bigint GENERATED ALWAYS AS IDENTITY,
    login      text NOT NULL,
    host       text NOT NULL,
    port       integer NOT NULL CHECK (port BETWEEN 1 AND 65535),
    state      text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'failed')),
    reason     text NOT NULL DEFAULT '',            -- of a failure: a word for programs
    message    text NOT NULL DEFAULT '',
    host_key   text NOT NULL DEFAULT '',            -- what the server showed
    steps      jsonb NOT NULL DEFAULT '[]',         -- [[step, state, words], ...]
    started_at timestamptz NOT NULL DEFAULT now(),
    ends_by    timestamptz NOT NULL,                -- running beyond it: its controller was stopped
    ended_at   timestamptz
);

GRANT SELECT, INSERT, UPDATE, DELETE ON ssh_enrolment TO hs_runtime;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO hs_runtime;
ALTER TABLE ssh_enrolment ENABLE ROW LEVEL SECURITY;
ALTER TABLE ssh_enrolment FORCE ROW LEVEL SECURITY;
CREATE POLICY provider ON ssh_enrolment USING (hs_provider()) WITH CHECK (hs_provider());
