-- Renumbering: a server answers on the old address and on the new one, and what names the old one
-- is changed part after part. See docs/adr/0017-renumbering.md.
-- depends: 0010.ip-addresses 0015.zone-moves

-- The second address of a server that is being renumbered: the new one before the switch, the old
-- one after it. 'moving': listened on, and in the transfer lists of the other name servers.
-- 'beside': listened on alone. 'held': kept from others, the server itself does not listen there.
ALTER TABLE ip_address DROP CONSTRAINT ip_address_type_check;
ALTER TABLE ip_address ADD CONSTRAINT ip_address_type_check CHECK (
    type IN ('shared', 'dedicated', 'service', 'dns-reseller', 'outgoing', 'bouncing',
             'moving', 'beside', 'held'));
CREATE UNIQUE INDEX ip_address_one_moving ON ip_address (logical_server_id) WHERE type = 'moving';

CREATE TABLE address_move (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    actor         text NOT NULL,
    state         text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'stopped', 'done')),
    phase         text NOT NULL DEFAULT 'begun' CHECK (phase IN (
                      'begun', 'listening', 'announced', 'switched', 'following', 'outlasting',
                      'retiring', 'ended')),
    server_id     uuid NOT NULL,               -- no foreign keys: a move outlives what it is of
    server        text COLLATE "C" NOT NULL,
    address_id    bigint NOT NULL,             -- the address that people know; its row stays
    type          text NOT NULL,
    port          integer NOT NULL,
    old           inet NOT NULL,
    new           inet NOT NULL,
    old_prefix    smallint NOT NULL,
    new_prefix    smallint NOT NULL,
    keep_seconds  integer NOT NULL,            -- so long the old one answers at the least
    total         integer NOT NULL DEFAULT 0,  -- zones that the phase passes through
    passed        integer NOT NULL DEFAULT 0,
    zone_after    bigint NOT NULL DEFAULT 0,   -- zones up to this id are passed
    passed_all    boolean NOT NULL DEFAULT true,
    begun_in      xid8 NOT NULL DEFAULT pg_current_xact_id(),   -- what the phase began with
    answers_until timestamptz,                 -- answers with the old address may be kept so long
    message       text NOT NULL DEFAULT '',
    started_at    timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz
);
CREATE UNIQUE INDEX address_move_open ON address_move (address_id) WHERE ended_at IS NULL;
CREATE INDEX address_move_server ON address_move (server_id) WHERE ended_at IS NULL;

-- A change of a move that is not live everywhere yet.
CREATE TABLE address_move_part (
    change_id bigint PRIMARY KEY,
    move_id   bigint NOT NULL REFERENCES address_move,
    ttl       integer NOT NULL,                -- seconds that answers of before may be kept
    failed    boolean NOT NULL DEFAULT false,
    message   text NOT NULL DEFAULT ''
);
CREATE INDEX address_move_part_move ON address_move_part (move_id);

-- Zones of a server in their own order, a part after the other.
CREATE INDEX zone_server_order ON zone_server (logical_server_id, zone_id);

-- Records by hand that name an address or a server: those of the address itself, what mail policy
-- says, and what points to a name.
CREATE INDEX record_by_hand ON record (data) WHERE NOT generated AND type IN ('A', 'AAAA');
CREATE INDEX record_policy ON record USING gin (string_to_array(translate(data, '"', ' '), ' '))
    WHERE NOT generated AND type = 'TXT';
CREATE INDEX record_target ON record (split_part(data, ' ', -1))
    WHERE NOT generated AND type IN ('CNAME', 'MX', 'NS', 'PTR', 'SRV');

GRANT SELECT, INSERT, UPDATE, DELETE ON address_move, address_move_part TO hs_runtime;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO hs_runtime;
DO $$
DECLARE relation text;
BEGIN
    FOREACH relation IN ARRAY ARRAY['address_move', 'address_move_part'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', relation);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', relation);
        EXECUTE format('CREATE POLICY provider ON %I USING (hs_provider())
                        WITH CHECK (hs_provider())', relation);
    END LOOP;
END $$;
