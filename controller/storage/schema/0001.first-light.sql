-- The first schema.
-- Two roles: the migration role owns everything; hs_runtime, which the controller connects as,
-- may not alter tables, not update or delete what is append-only, and is subject to row security.

CREATE TABLE cluster (
    only_row        boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id              uuid NOT NULL DEFAULT gen_random_uuid(),
    history         uuid NOT NULL DEFAULT gen_random_uuid(),   -- renewed by a restore
    service_domain  text COLLATE "C" NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    compatible_from integer NOT NULL DEFAULT 1   -- programs whose schema number is lower refuse
);

-- People and their ways in ---------------------------------------------------------------------

CREATE TABLE operator (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text COLLATE "C" NOT NULL UNIQUE,
    password_hash text,                       -- argon2id; null: cannot sign in by password
    disabled_at   timestamptz,
    created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE api_token (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    operator_id bigint NOT NULL REFERENCES operator,
    label       text NOT NULL,
    digest      bytea NOT NULL UNIQUE,        -- SHA-256 of a 256-bit random token
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz,
    revoked_at  timestamptz
);

CREATE TABLE web_session (
    digest      bytea PRIMARY KEY,            -- SHA-256 of the cookie's random value
    operator_id bigint REFERENCES operator,   -- null before sign-in; never set later: rotated
    csrf        bytea NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    seen_at     timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL
);

CREATE TABLE sign_in_failure (
    subject   text COLLATE "C" NOT NULL,      -- 'name:...' or 'address:...'
    failed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX sign_in_failure_subject ON sign_in_failure (subject, failed_at);

-- Boxes and certificates -----------------------------------------------------------------------

CREATE TABLE box (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name          text COLLATE "C" NOT NULL UNIQUE,
    address       inet NOT NULL,              -- primary address with its prefix length
    os_family     text NOT NULL DEFAULT 'linux' CHECK (os_family IN ('linux', 'freebsd', 'windows')),
    groups        text[] NOT NULL,
    intent        text NOT NULL DEFAULT 'open'
                  CHECK (intent IN ('open', 'no-signup', 'draining', 'maintenance')),
    session_epoch bigint NOT NULL DEFAULT 0,  -- fences writes of an older session
    machine_id    text,
    boot_id       text,
    agent_version text,
    first_seen_at timestamptz,                -- null: never connected, the '!' marker (R248)
    last_seen_at  timestamptz,
    connected     boolean NOT NULL DEFAULT false,
    facts         jsonb,                      -- the last system report
    facts_at      timestamptz,
    version       integer NOT NULL DEFAULT 1,
    created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE enrolment_token (
    digest     bytea PRIMARY KEY,
    box_id     uuid NOT NULL REFERENCES box ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);

CREATE TABLE certificate (
    serial     numeric(50) PRIMARY KEY,
    name       text COLLATE "C" NOT NULL,     -- the URI SAN
    box_id     uuid,                          -- no foreign key: the row outlives the box
    not_after  timestamptz NOT NULL,
    issued_at  timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz,
    reason     text
);
CREATE INDEX certificate_box ON certificate (box_id);

-- Logical servers ------------------------------------------------------------------------------

CREATE TABLE logical_server (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name         text COLLATE "C" NOT NULL UNIQUE,
    group_name   text NOT NULL,
    service_type text NOT NULL,
    description  text NOT NULL DEFAULT '',
    settings     jsonb NOT NULL DEFAULT '{}',
    signup       boolean NOT NULL DEFAULT false,   -- R280
    revision     bigint NOT NULL DEFAULT 0,        -- of the last object bumped, under the row lock
    version      integer NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE lane (
    box_id            uuid NOT NULL REFERENCES box,
    logical_server_id uuid NOT NULL REFERENCES logical_server,
    stored_revision   bigint NOT NULL DEFAULT 0,   -- acknowledged as durable on the box
    settled_revision  bigint NOT NULL DEFAULT 0,   -- all up to here have an outcome
    expected_hash     numeric(40) NOT NULL DEFAULT 0,   -- of live objects up to stored_revision
    condition         text NOT NULL DEFAULT 'new',
    message           text NOT NULL DEFAULT '',
    renderer          text NOT NULL DEFAULT '',
    adopted_history   uuid,
    watched_through   bigint NOT NULL DEFAULT 0,   -- changes up to here have all their watches seen
    PRIMARY KEY (box_id, logical_server_id)
);
CREATE INDEX lane_server ON lane (logical_server_id);

CREATE TABLE ip_address (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    logical_server_id uuid NOT NULL REFERENCES logical_server,
    address           inet NOT NULL,               -- host address; the mask is prefix
    prefix            smallint NOT NULL,
    port              integer NOT NULL CHECK (port BETWEEN 1 AND 65535),
    type              text NOT NULL CHECK (type IN ('shared', 'dedicated', 'service')),
    tag               integer,
    created_at        timestamptz NOT NULL DEFAULT now(),
    UNIQUE (address, port)                         -- R354, judged by endpoint
);
CREATE UNIQUE INDEX ip_address_one_service ON ip_address (logical_server_id) WHERE type = 'service';
CREATE UNIQUE INDEX ip_address_tag ON ip_address (logical_server_id, tag) WHERE type = 'shared';
CREATE INDEX ip_address_server ON ip_address (logical_server_id);

-- Hosting: every row has an owner, the account -------------------------------------------------

CREATE TABLE account (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_id   bigint NOT NULL GENERATED ALWAYS AS (id) STORED,
    name       text COLLATE "C" NOT NULL UNIQUE,
    created_at timestamptz NOT NULL DEFAULT now(),
    version    integer NOT NULL DEFAULT 1
);

CREATE TABLE domain (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_id   bigint NOT NULL REFERENCES account,
    name       text COLLATE "C" NOT NULL UNIQUE,     -- A-label form, lower case, no trailing dot
    created_at timestamptz NOT NULL DEFAULT now(),
    version    integer NOT NULL DEFAULT 1
);
CREATE INDEX domain_owner ON domain (owner_id, name);
-- Children of a name are a range of this index: 'test.shop.' < reversed < 'test.shop/'.
ALTER TABLE domain ADD COLUMN reversed text COLLATE "C" NOT NULL;
CREATE UNIQUE INDEX domain_reversed ON domain (reversed);

CREATE TABLE zone (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_id   bigint REFERENCES account,            -- null: the service zone
    domain_id  bigint UNIQUE REFERENCES domain ON DELETE CASCADE,
    name       text COLLATE "C" NOT NULL UNIQUE,
    serial     bigint NOT NULL,                      -- only grows (RFC 1982)
    ttl        integer NOT NULL DEFAULT 3600,
    contact    text NOT NULL,
    version    integer NOT NULL DEFAULT 1
);

CREATE TABLE zone_server (
    zone_id           bigint NOT NULL REFERENCES zone ON DELETE CASCADE,
    logical_server_id uuid NOT NULL REFERENCES logical_server,
    owner_id          bigint,
    role              text NOT NULL CHECK (role IN ('master', 'secondary')),
    PRIMARY KEY (zone_id, logical_server_id)
);
CREATE UNIQUE INDEX zone_server_master ON zone_server (zone_id) WHERE role = 'master';
CREATE INDEX zone_server_server ON zone_server (logical_server_id);

CREATE TABLE record (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    zone_id   bigint NOT NULL REFERENCES zone ON DELETE CASCADE,
    owner_id  bigint,
    name      text COLLATE "C" NOT NULL,             -- relative to the zone, '@' is the apex
    type      text NOT NULL,
    ttl       integer NOT NULL CHECK (ttl BETWEEN 0 AND 2147483647),
    data      text NOT NULL,                         -- as in a master file, names absolute
    generated boolean NOT NULL DEFAULT false,        -- made by the product, not by a person
    UNIQUE (zone_id, name, type, data)
);

CREATE TABLE site (
    id                bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_id          bigint NOT NULL REFERENCES account,
    domain_id         bigint NOT NULL UNIQUE REFERENCES domain ON DELETE CASCADE,
    logical_server_id uuid NOT NULL REFERENCES logical_server,
    ip_address_id     bigint NOT NULL REFERENCES ip_address,
    settings          jsonb,                         -- null: a plain site
    certificate_id    bigint,                        -- a sealed secret
    version           integer NOT NULL DEFAULT 1
);
CREATE INDEX site_server ON site (logical_server_id);
CREATE INDEX site_ip ON site (ip_address_id);

-- What the boxes must serve, and what became of it ---------------------------------------------

CREATE TABLE secret (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    owner_id bigint,
    name     text COLLATE "C" UNIQUE,                -- of a cluster-wide secret, e.g. the TSIG key
    sealed   bytea NOT NULL,
    digest   bytea NOT NULL                          -- keyed, so equal secrets can be compared
);

CREATE TABLE change (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    seq          bigint UNIQUE,                      -- gapless, given by the sealer after commit
    hash         bytea,                              -- SHA-256 over the former hash and this row
    actor        text NOT NULL,                      -- 'operator:NAME', 'system:NAME'
    on_behalf_of bigint,                             -- the account whose things are touched
    origin       text NOT NULL DEFAULT '',           -- 'panel', 'api', 'hsctl', with the address
    command      text NOT NULL,
    request      jsonb NOT NULL,                     -- redacted
    reason       text NOT NULL DEFAULT '',
    at           timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX change_unsealed ON change (id) WHERE seq IS NULL;

CREATE TABLE change_object (
    change_id         bigint NOT NULL REFERENCES change,
    logical_server_id uuid NOT NULL,
    kind              text COLLATE "C" NOT NULL,
    key               text COLLATE "C" NOT NULL,
    revision          bigint NOT NULL,
    before            bytea,                         -- spec bytes; null: did not exist
    after             bytea,                         -- null: removed
    PRIMARY KEY (change_id, logical_server_id, kind, key)
);
CREATE INDEX change_object_object ON change_object (logical_server_id, kind, key, revision);

CREATE TABLE change_row (
    change_id bigint NOT NULL REFERENCES change,
    position  integer NOT NULL,
    relation  text NOT NULL,
    row_key   text NOT NULL,
    before    jsonb,
    after     jsonb,
    PRIMARY KEY (change_id, position)
);

-- A secondary must be seen to answer this serial before the change is live.
CREATE TABLE change_watch (
    change_id         bigint NOT NULL REFERENCES change,
    logical_server_id uuid NOT NULL,
    zone              text COLLATE "C" NOT NULL,
    serial            bigint NOT NULL,
    PRIMARY KEY (change_id, logical_server_id, zone)
);
CREATE INDEX change_watch_server ON change_watch (logical_server_id, zone);
CREATE INDEX change_watch_change ON change_watch (logical_server_id, change_id);

CREATE TABLE zone_observation (
    box_id            uuid NOT NULL,
    logical_server_id uuid NOT NULL,
    zone              text COLLATE "C" NOT NULL,
    serial            bigint NOT NULL,
    seen_at           timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (box_id, logical_server_id, zone)
);

CREATE TABLE desired_object (
    logical_server_id uuid NOT NULL REFERENCES logical_server,
    kind              text COLLATE "C" NOT NULL,
    key               text COLLATE "C" NOT NULL,
    revision          bigint NOT NULL,
    kind_version      integer NOT NULL,
    spec              bytea,                         -- null: tombstone
    requires          jsonb NOT NULL DEFAULT '[]',   -- [[kind, key], ...]
    secrets           bigint[] NOT NULL DEFAULT '{}',   -- inlined at dispatch
    owner_id          bigint,
    deleted           boolean NOT NULL DEFAULT false,
    change_id         bigint NOT NULL REFERENCES change,
    PRIMARY KEY (logical_server_id, kind, key)
);
CREATE UNIQUE INDEX desired_object_revision ON desired_object (logical_server_id, revision);

-- What a lane acknowledged, so that the expected hash can lose what an object's new version replaces.
CREATE TABLE lane_object (
    box_id            uuid NOT NULL,
    logical_server_id uuid NOT NULL,
    kind              text COLLATE "C" NOT NULL,
    key               text COLLATE "C" NOT NULL,
    revision          bigint NOT NULL,
    share             numeric(40),                   -- of the additive hash; null: not known
    PRIMARY KEY (logical_server_id, box_id, kind, key)
);

CREATE TABLE object_outcome (                        -- exceptions only
    box_id            uuid NOT NULL,
    logical_server_id uuid NOT NULL,
    kind              text COLLATE "C" NOT NULL,
    key               text COLLATE "C" NOT NULL,
    revision          bigint NOT NULL,
    outcome           text NOT NULL
                      CHECK (outcome IN ('waiting', 'quarantined', 'failed', 'held')),
    message           text NOT NULL DEFAULT '',
    since             timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (box_id, logical_server_id, kind, key)
);

CREATE TABLE idempotency (
    actor        text NOT NULL,
    key          text NOT NULL,
    request_hash bytea NOT NULL,
    change_id    bigint,
    response     jsonb,
    at           timestamptz NOT NULL DEFAULT now(),
    owner_id     bigint DEFAULT nullif(current_setting('hs.account', true), '')::bigint,
    PRIMARY KEY (actor, key)
);
CREATE INDEX idempotency_at ON idempotency (at);

-- Rights of the runtime role, and row security -------------------------------------------------

GRANT USAGE ON SCHEMA public TO hs_runtime;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO hs_runtime;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO hs_runtime;
REVOKE UPDATE, DELETE ON change, change_object, change_row, change_watch FROM hs_runtime;
GRANT UPDATE (seq, hash) ON change TO hs_runtime;
REVOKE UPDATE, DELETE ON cluster FROM hs_runtime;
GRANT UPDATE (service_domain) ON cluster TO hs_runtime;

-- Whether a serial is another one or a later one (RFC 1982 section 3.2).
CREATE FUNCTION hs_serial_reached(seen bigint, wanted bigint) RETURNS boolean LANGUAGE sql IMMUTABLE
RETURN (seen - wanted + 4294967296) % 4294967296 < 2147483648;

-- What is sealed stays sealed.
CREATE FUNCTION hs_refuse_resealing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'change % is sealed', OLD.id USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER change_sealed BEFORE UPDATE ON change FOR EACH ROW WHEN (OLD.seq IS NOT NULL)
    EXECUTE FUNCTION hs_refuse_resealing();

-- The principal is set by every transaction (hs.principal, hs.account). Set by nobody, it sees
-- nothing.
CREATE FUNCTION hs_provider() RETURNS boolean LANGUAGE sql STABLE
RETURN coalesce(current_setting('hs.principal', true) = 'provider', false);

CREATE FUNCTION hs_visible(owner bigint) RETURNS boolean LANGUAGE sql STABLE
RETURN CASE current_setting('hs.principal', true)
    WHEN 'provider' THEN true
    WHEN 'account' THEN owner = nullif(current_setting('hs.account', true), '')::bigint
    ELSE false
END;

-- Rows with an owner.
DO $$
DECLARE relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['account', 'domain', 'zone', 'zone_server', 'record', 'site',
                                    'secret', 'desired_object', 'idempotency'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', relation);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', relation);
        EXECUTE format('CREATE POLICY tenant ON %I USING (hs_visible(owner_id))
                        WITH CHECK (hs_visible(owner_id))', relation);
    END LOOP;
END $$;

-- Rows that are the provider's alone.
DO $$
DECLARE relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['operator', 'api_token', 'web_session', 'sign_in_failure',
                                    'enrolment_token', 'certificate'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', relation);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', relation);
        EXECUTE format('CREATE POLICY provider ON %I USING (hs_provider())
                        WITH CHECK (hs_provider())', relation);
    END LOOP;
END $$;

-- The audit: an account reads what was done for it. A change and its parts are written by one
-- statement, which cannot see its own rows, so the parts are only checked when they are read.
ALTER TABLE change ENABLE ROW LEVEL SECURITY;
ALTER TABLE change FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON change USING (hs_visible(on_behalf_of))
    WITH CHECK (hs_visible(on_behalf_of));
DO $$
DECLARE relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['change_object', 'change_row', 'change_watch'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', relation);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', relation);
        EXECUTE format('CREATE POLICY reading ON %I FOR SELECT USING (hs_provider() OR
                        EXISTS (SELECT FROM change WHERE change.id = change_id))', relation);
        EXECUTE format('CREATE POLICY writing ON %I FOR INSERT WITH CHECK (true)', relation);
    END LOOP;
END $$;

-- What became of an object is for whoever sees the object.
ALTER TABLE object_outcome ENABLE ROW LEVEL SECURITY;
ALTER TABLE object_outcome FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON object_outcome USING (hs_provider() OR EXISTS (
    SELECT FROM desired_object d
    WHERE d.logical_server_id = object_outcome.logical_server_id
      AND d.kind = object_outcome.kind AND d.key = object_outcome.key));
