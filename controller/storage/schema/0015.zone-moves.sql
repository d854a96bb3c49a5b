-- Moves of existing zones to the servers that the roles name: what a move is for, how far it is,
-- and the zones that are on their way. A zone is a row here only while it moves.
-- depends: 0013.model-stamp

CREATE TABLE zone_move (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    actor      text NOT NULL,
    reason     text NOT NULL DEFAULT '',
    state      text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'stopped', 'done')),
    message    text NOT NULL DEFAULT '',        -- why it stopped
    master     uuid NOT NULL,                   -- of all zones; no foreign keys: a move outlives them
    named      uuid[] NOT NULL,                 -- secondaries of all zones
    rest       uuid[] NOT NULL,                 -- what fills the places that no role does
    servers    jsonb NOT NULL,                  -- their names: {"master": ..., "named": [...], ...}
    total      integer NOT NULL,                -- zones that were elsewhere when it began
    moved      integer NOT NULL DEFAULT 0,
    taken      bigint NOT NULL DEFAULT 0,       -- zones up to this id are moved or on their way
    taken_all  boolean NOT NULL DEFAULT false,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at   timestamptz
);
CREATE UNIQUE INDEX zone_move_taking ON zone_move (state) WHERE state = 'running' AND NOT taken_all;

CREATE TABLE zone_move_zone (
    zone_id   bigint PRIMARY KEY REFERENCES zone ON DELETE CASCADE,
    move_id   bigint NOT NULL REFERENCES zone_move,
    phase     text NOT NULL CHECK (phase IN ('promoted', 'following', 'published', 'leaving')),
    former    uuid[] NOT NULL,                  -- the servers that it was on
    wanted    uuid[] NOT NULL,                  -- those that it comes to, its master first
    change_id bigint NOT NULL,                  -- must be live before the next phase
    leaves_at timestamptz,                      -- answers may be kept so long: then the rest leaves
    failed    boolean NOT NULL DEFAULT false,
    message   text NOT NULL DEFAULT ''          -- what it waits for
);
CREATE INDEX zone_move_zone_move ON zone_move_zone (move_id);

GRANT SELECT, INSERT, UPDATE, DELETE ON zone_move, zone_move_zone TO hs_runtime;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO hs_runtime;
DO $$
DECLARE relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['zone_move', 'zone_move_zone'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', relation);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', relation);
        EXECUTE format('CREATE POLICY provider ON %I USING (hs_provider())
                        WITH CHECK (hs_provider())', relation);
    END LOOP;
END $$;
