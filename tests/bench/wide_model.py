"""A wide model, made by SQL: boxes, logical servers, addresses, and zones that all boxes serve.

The rows are those that commands would have written, with the changes that wrote them, in the time
that the database takes. Nothing is waiting: every lane has settled what its server has. What only
the hand-over to a box reads (`lane_object`, certificates, samples) is left out.
"""

from collections.abc import Sequence

import attrs
from psycopg2 import extensions
from psycopg2.extras import execute_values

from controller.projection.sites import SiteRow, site_spec
from controller.projection.zones import (
    NameServer,
    RecordRow,
    ZoneRow,
    master_zone,
    name_server_records,
    secondary_zone,
)
from templates.objects import encode_spec
from templates.service_type import Endpoint

SERVICE_DOMAIN = "example.net"
SERIAL = 2026010101
EVERY = 50
"""Each so-manieth logical server is a name server, the others are web and mail by turns."""
FIRST_SITE = 100_001
"""Sites have ids of six digits, so that their objects are equally long."""


@attrs.frozen
class Size:
    """How much there is of each."""

    boxes: int = 1_000
    servers: int = 5_000
    addresses: int = 100_000
    zones: int = 200_000
    accounts: int = 1_000
    largest: int = 20_000
    """Domains of the account ``big``; the others share the rest."""

    def scaled(self, factor: float) -> "Size":
        """Give a model that is this much smaller, with something of each."""
        return Size(
            boxes=max(20, int(self.boxes * factor)),
            servers=max(4 * EVERY, int(self.servers * factor)),
            addresses=max(1_000, int(self.addresses * factor)),
            zones=max(1_000, int(self.zones * factor)),
            accounts=max(10, int(self.accounts * factor)),
            largest=max(100, int(self.largest * factor)),
        )

    @property
    def dedicated(self) -> int:
        """Dedicated addresses of each web server; every server has one address beside them."""
        webs = sum(1 for n in range(1, self.servers + 1) if n % EVERY and n % 2 == 0)
        return max(1, (self.addresses - self.servers) // webs)

    @property
    def words(self) -> str:
        return (
            f"{self.boxes:,} boxes, {self.servers:,} logical servers, about {self.addresses:,} "
            f"addresses, {self.zones:,} zones with a site and five records each"
        )


def zone_name(number: int) -> str:
    """Give the name of a zone; numbers begin with 1, and names are in their order."""
    return f"z{number:06}.test"


def server_name(number: int) -> str:
    """Give the name of a logical server; numbers begin with 1."""
    return f"s{number:04}.{SERVICE_DOMAIN}"


def box_name(number: int) -> str:
    """Give the name of a box; numbers begin with 1."""
    return f"b{number:04}"


_MODEL = """
INSERT INTO box (name, address, groups, first_seen_at)
SELECT 'b' || lpad(n::text, 4, '0'), ('10.' || n / 250 || '.' || n %% 250 || '.1/24')::inet,
       '{web,dns,mail}', now()
FROM generate_series(1, %(boxes)s) n;

INSERT INTO logical_server (name, group_name, service_type, signup)
SELECT 's' || lpad(n::text, 4, '0') || %(domain)s,
       CASE WHEN n %% %(every)s = 0 THEN 'dns' WHEN n %% 2 = 0 THEN 'web' ELSE 'mail' END,
       CASE WHEN n %% %(every)s = 0 THEN 'bind' WHEN n %% 2 = 0 THEN 'apache' ELSE 'qmail' END, true
FROM generate_series(1, %(servers)s) n;

CREATE TEMPORARY TABLE filled AS
SELECT id, name, group_name, row_number() OVER (ORDER BY name) - 1 AS place,
       row_number() OVER (PARTITION BY group_name ORDER BY name) - 1 AS nth,
       count(*) OVER (PARTITION BY group_name) AS many
FROM logical_server;

INSERT INTO lane (box_id, logical_server_id, condition)
SELECT b.id, s.id, 'ok' FROM filled s
JOIN (SELECT id, row_number() OVER (ORDER BY name) - 1 AS place FROM box) b
  ON b.place = s.place %% %(boxes)s;

INSERT INTO ip_address (logical_server_id, address, prefix, port, type, tag)
SELECT id, '100.64.0.0'::inet + place, 16,
       CASE group_name WHEN 'web' THEN 80 WHEN 'dns' THEN 53 ELSE 25 END,
       CASE group_name WHEN 'web' THEN 'shared' ELSE 'service' END,
       CASE group_name WHEN 'web' THEN 2 END
FROM filled ORDER BY place;

INSERT INTO ip_address (logical_server_id, address, prefix, port, type)
SELECT s.id, '172.16.0.0'::inet + s.nth * %(dedicated)s + k, 16, 80, 'dedicated'
FROM filled s, generate_series(0, %(dedicated)s - 1) k
WHERE s.group_name = 'web' ORDER BY s.nth, k;

INSERT INTO account (name) VALUES ('big');
INSERT INTO account (name)
SELECT 'a' || lpad(n::text, 4, '0') FROM generate_series(2, %(accounts)s) n;

INSERT INTO domain (owner_id, name, reversed)
SELECT a.id, d.name, 'test.' || split_part(d.name, '.', 1)
FROM (SELECT n, 'z' || lpad(n::text, 6, '0') || '.test' AS name
      FROM generate_series(1, %(zones)s) n) d
JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM account) a
  ON a.place = CASE WHEN d.n %% (%(zones)s / %(largest)s) = 0 THEN 0
                    ELSE d.n %% (%(accounts)s - 1) + 1 END
ORDER BY d.n;

INSERT INTO change (actor, on_behalf_of, origin, command, request)
SELECT CASE WHEN n %% 1000 = 0 THEN 'operator:bob' ELSE 'operator:ann' END, owner_id, 'bench',
       'domain.add', jsonb_build_object('name', name)
FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM domain) d ORDER BY id;
-- Numbers of changes, domains and zones run side by side from here.
CREATE TEMPORARY TABLE made AS
SELECT d.id AS domain_id, d.name, d.owner_id, c.id AS change_id, d.n,
       s.id AS master, t.id AS secondary, w.id AS web, i.id AS address
FROM (SELECT *, row_number() OVER (ORDER BY id) AS n FROM domain) d
JOIN (SELECT id, row_number() OVER (ORDER BY id) AS n FROM change) c USING (n)
JOIN filled s ON s.group_name = 'dns' AND s.nth = d.n %% s.many
JOIN filled t ON t.group_name = 'dns' AND t.nth = (d.n + 1) %% t.many
JOIN filled w ON w.group_name = 'web' AND w.nth = d.n %% w.many
JOIN ip_address i ON i.logical_server_id = w.id AND i.type = 'shared';
ANALYZE made;

INSERT INTO change_row (change_id, position, relation, row_key, after)
SELECT change_id, 1, 'domain', name, jsonb_build_object('name', name) FROM made ORDER BY n;

INSERT INTO zone (owner_id, domain_id, name, serial, contact)
SELECT owner_id, domain_id, name, %(serial)s, 'hostmaster' || %(domain)s || '.'
FROM made ORDER BY n;
INSERT INTO zone_server (zone_id, logical_server_id, owner_id, role)
SELECT z.id, r.server, z.owner_id, r.role FROM zone z JOIN made m USING (domain_id),
LATERAL (VALUES (m.master, 'master'), (m.secondary, 'secondary')) AS r(server, role)
ORDER BY z.id;
INSERT INTO site (id, owner_id, domain_id, logical_server_id, ip_address_id)
OVERRIDING SYSTEM VALUE
SELECT %(first_site)s - 1 + n, owner_id, domain_id, web, address FROM made ORDER BY n;
SELECT setval(pg_get_serial_sequence('site', 'id'), %(first_site)s + %(zones)s);
"""

_SERVED = """
INSERT INTO record (zone_id, owner_id, name, type, ttl, data, generated)
SELECT z.id, z.owner_id, r.name, r.type, r.ttl, r.data, r.generated
FROM made m JOIN zone z USING (domain_id) JOIN pair_record r USING (master) ORDER BY z.id;

CREATE TEMPORARY TABLE object AS
SELECT server, kind, m.name AS key, row_number() OVER (PARTITION BY server ORDER BY n) AS revision,
       o.spec, owner_id, change_id
FROM made m JOIN pair p USING (master) JOIN site_pattern t USING (owner_id),
LATERAL (VALUES (m.master, 'zone', p.master_spec), (m.secondary, 'zone', p.secondary_spec),
    (m.web, 'site', overlay(t.spec PLACING convert_to((%(first_site)s - 1 + n)::text, 'UTF8')
                            FROM t.place))) AS o(server, kind, spec);
INSERT INTO desired_object (logical_server_id, kind, key, revision, kind_version, spec, owner_id,
                            change_id)
SELECT server, kind, key, revision, 1, spec, owner_id, change_id FROM object
ORDER BY server, revision;
INSERT INTO change_object (change_id, logical_server_id, kind, key, revision, after)
SELECT change_id, server, kind, key, revision, spec FROM object ORDER BY change_id;
INSERT INTO change_watch (change_id, logical_server_id, zone, serial)
SELECT change_id, secondary, name, %(serial)s FROM made ORDER BY n;
INSERT INTO zone_observation (box_id, logical_server_id, zone, serial)
SELECT l.box_id, m.secondary, m.name, %(serial)s
FROM made m JOIN lane l ON l.logical_server_id = m.secondary;

UPDATE logical_server s SET revision = o.revision, holds = s.holds + o.count
FROM (SELECT server, max(revision) AS revision, count(*) FROM object GROUP BY server) o
WHERE s.id = o.server;
UPDATE lane l SET stored_revision = s.revision, settled_revision = s.revision
FROM logical_server s WHERE s.id = l.logical_server_id;
"""


def fill(connection: extensions.connection, size: Size) -> None:
    """Fill an empty model; ``connection`` is a superuser's, whom row security does not slow."""
    given = {
        "boxes": size.boxes,
        "servers": size.servers,
        "dedicated": size.dedicated,
        "accounts": size.accounts,
        "zones": size.zones,
        "largest": size.largest,
        "every": EVERY,
        "domain": f".{SERVICE_DOMAIN}",
        "serial": SERIAL,
        "first_site": FIRST_SITE,
    }
    with connection, connection.cursor() as cursor:
        # References are right by construction; looking each of them up would take as long again.
        cursor.execute("SET LOCAL session_replication_role = replica; SET LOCAL work_mem = '64MB'")
        cursor.execute(_MODEL, given)
        _pairs(cursor)
        _site_patterns(cursor)
        cursor.execute(_SERVED, given)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
        cursor.execute("CHECKPOINT")


def _pairs(cursor: extensions.cursor) -> None:
    """Write the records and the objects of a zone on each pair of name servers."""
    cursor.execute(
        """SELECT f.id::text, f.name, host(i.address) FROM filled f
           JOIN ip_address i ON i.logical_server_id = f.id WHERE f.group_name = 'dns'
           ORDER BY f.nth"""
    )
    found: Sequence[tuple[str, str, str]] = cursor.fetchall()
    pairs, records = [], []
    for place, one in enumerate(found):
        servers = [
            NameServer(server, name, Endpoint(address=address, port=53), role)
            for (server, name, address), role in (
                (one, "master"),
                (found[(place + 1) % len(found)], "secondary"),
            )
        ]
        rows = (
            *name_server_records(servers, 3600),
            *(RecordRow(name, "A", "192.0.2.1", 3600, True) for name in ("@", "www")),
            RecordRow("@", "MX", "10 mx.example.org.", 3600),
        )
        zone = ZoneRow(0, "", SERIAL, 3600, f"hostmaster.{SERVICE_DOMAIN}.", None)
        specs = encode_spec(master_zone(zone, rows, servers)), encode_spec(secondary_zone(servers))
        pairs.append((one[0], *specs))
        records += [(one[0], r.name, r.type, r.ttl, r.data, r.generated) for r in rows]
    cursor.execute(
        """CREATE TEMPORARY TABLE pair (master uuid, master_spec bytea, secondary_spec bytea);
           CREATE TEMPORARY TABLE pair_record
               (master uuid, name text, type text, ttl int, data text, generated bool)"""
    )
    execute_values(cursor, "INSERT INTO pair VALUES %s", pairs)
    execute_values(cursor, "INSERT INTO pair_record VALUES %s", records)


def _site_patterns(cursor: extensions.cursor) -> None:
    """Write the object of a site of each account, and where in it the number of the site is."""
    cursor.execute("SELECT id FROM account")
    patterns = []
    for (owner,) in cursor.fetchall():
        spec = encode_spec(site_spec(SiteRow(FIRST_SITE, "", owner, "", None)))
        place = spec.index(f"s{FIRST_SITE}".encode())
        patterns.append((owner, spec, place + 2))  # behind the s; SQL counts from 1
    cursor.execute("CREATE TEMPORARY TABLE site_pattern (owner_id bigint, spec bytea, place int)")
    execute_values(cursor, "INSERT INTO site_pattern VALUES %s", patterns)
