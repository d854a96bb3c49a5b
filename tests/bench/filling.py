"""Filling the model by SQL: many zones, or many boxes, in the time that the database takes.

The rows are those that the commands would write, and the product brings them to the boxes itself:
nothing is put on a name server by hand.
"""

import time
import uuid
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import attrs
import psycopg2
from psycopg2 import extensions
from psycopg2.extras import execute_values

from controller.projection.zones import (
    NameServer,
    RecordRow,
    ZoneRow,
    master_zone,
    name_server_records,
    secondary_zone,
)
from templates.bind.objects import ZONE
from templates.objects import encode_spec
from templates.service_type import Endpoint

PART = 5000
"""Zones of one transaction."""
SERIAL = 1
_POISON = RecordRow("@", "CNAME", "elsewhere.test.", 3600)


@attrs.define
class Model:
    """The model of a cluster, written to beside its controller."""

    _connection: extensions.connection

    @classmethod
    def open(cls, database_url: str) -> "Model":
        connection = psycopg2.connect(database_url)
        with connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION hs.principal = 'provider'")
        return cls(connection)

    def close(self) -> None:
        self._connection.close()

    def fill_zones(
        self, first: int, last: int, account: str, poison: Collection[int] = frozenset()
    ) -> None:
        """Add the zones ``zFIRST.fill.test`` to ``zLAST``, all with ns1 as master.

        The zones in ``poison`` have a CNAME beside their SOA: no name server takes them.
        """
        for start in range(first, last, PART):
            self._fill(start, min(last, start + PART), account, poison)

    def outcomes(self, outcome: str) -> int:
        """Count the objects that have an outcome of their own on any lane."""
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM object_outcome WHERE outcome = %s", (outcome,))
            (count,) = _row(cursor.fetchone())
        return int(count)

    def until_served(self) -> Iterator[int]:
        """Give how many revisions lanes still have to settle, until it is none."""
        while True:
            with self._connection, self._connection.cursor() as cursor:
                cursor.execute(
                    "SELECT coalesce(sum(s.revision - l.settled_revision), 0) FROM lane l"
                    " JOIN logical_server s ON s.id = l.logical_server_id"
                )
                (left,) = _row(cursor.fetchone())
            yield int(left)
            if not left:
                return
            time.sleep(0.2)

    def add_boxes(self, count: int) -> tuple[str, list[str]]:
        """Add boxes that all work one new logical server; give the server and the boxes."""
        server, boxes = str(uuid.uuid4()), [str(uuid.uuid4()) for _ in range(count)]
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO logical_server (id, name, group_name, service_type)"
                " VALUES (%s, 'crowd', 'dns', 'bind')",
                (server,),
            )
            execute_values(
                cursor,
                "INSERT INTO box (id, name, address, groups) VALUES %s",
                [
                    (
                        box,
                        f"crowd{number}",
                        f"198.18.{number // 250}.{number % 250 + 1}/15",
                        "{dns}",
                    )
                    for number, box in enumerate(boxes)
                ],
                page_size=count,
            )
            execute_values(
                cursor,
                "INSERT INTO lane (box_id, logical_server_id) VALUES %s",
                [(box, server) for box in boxes],
                page_size=count,
            )
        return server, boxes

    def change(self, server: str, key: str, spec: bytes) -> int:
        """Give a server one new or changed object, as a command does; give the revision."""
        with self._connection, self._connection.cursor() as cursor:
            (revision,) = self._bump(cursor, server, 1)
            change = self._new_change(cursor)
            self._write_objects(cursor, change, server, [(key, revision + 1, spec)], None)
            cursor.execute("SELECT pg_notify('hs_change', %s)", (str(change),))
        return int(revision) + 1

    def settled(self, server: str, revision: int) -> int:
        """Count the lanes of a server that settled a revision."""
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM lane WHERE logical_server_id = %s AND settled_revision >= %s",
                (server, revision),
            )
            (count,) = _row(cursor.fetchone())
        return int(count)

    def connected(self) -> int:
        """Count the boxes of the crowd that have a session."""
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM box WHERE connected AND name LIKE 'crowd%'")
            (count,) = _row(cursor.fetchone())
        return int(count)

    def _fill(self, start: int, end: int, account: str, poison: Collection[int]) -> None:
        with self._connection, self._connection.cursor() as cursor:
            servers = self._name_servers(cursor)
            cursor.execute("SELECT id FROM account WHERE name = %s", (account,))
            (owner,) = _row(cursor.fetchone())
            names = [f"z{number}.fill.test" for number in range(start, end)]
            domains = _returned(
                cursor,
                "INSERT INTO domain (owner_id, name, reversed) VALUES %s RETURNING name, id",
                [(owner, name, ".".join(reversed(name.split(".")))) for name in names],
            )
            zones = _returned(
                cursor,
                "INSERT INTO zone (owner_id, domain_id, name, serial, contact) VALUES %s"
                " RETURNING name, id",
                [(owner, domains[n], n, SERIAL, "root.heliosphere.test.") for n in names],
            )
            execute_values(
                cursor,
                "INSERT INTO zone_server (zone_id, logical_server_id, owner_id, role) VALUES %s",
                [(zones[n], s.logical_server, owner, s.role) for n in names for s in servers],
                page_size=PART,
            )
            rows = (
                *name_server_records(servers, 3600),
                RecordRow("@", "A", "192.0.2.1", 3600),
                RecordRow("www", "A", "192.0.2.1", 3600),
            )
            execute_values(
                cursor,
                "INSERT INTO record (zone_id, owner_id, name, type, ttl, data, generated)"
                " VALUES %s",
                [
                    (zones[n], owner, r.name, r.type, r.ttl, r.data, r.generated)
                    for n in names
                    for r in rows
                ],
                page_size=PART,
            )
            change = self._new_change(cursor)
            for server in sorted(servers, key=lambda each: each.logical_server):
                (revision,) = self._bump(cursor, server.logical_server, len(names))
                objects = []
                for offset, name in enumerate(names, 1):
                    bad = start + offset - 1 in poison
                    zone = ZoneRow(zones[name], name, SERIAL, 3600, "root.heliosphere.test.", owner)
                    spec = (
                        encode_spec(master_zone(zone, (*rows, _POISON) if bad else rows, servers))
                        if server.role == "master"
                        else encode_spec(secondary_zone(servers))
                    )
                    objects.append((name, revision + offset, spec))
                self._write_objects(cursor, change, server.logical_server, objects, owner)
            cursor.execute("SELECT pg_notify('hs_change', %s)", (str(change),))

    def _name_servers(self, cursor: extensions.cursor) -> list[NameServer]:
        cursor.execute(
            "SELECT s.id::text, s.name, host(i.address), i.port FROM logical_server s"
            " JOIN ip_address i ON i.logical_server_id = s.id AND i.type = 'service'"
            " WHERE s.service_type = 'bind' ORDER BY s.name"
        )
        return [
            NameServer(
                server, name, Endpoint(address=address, port=port), ("master", "secondary")[number]
            )
            for number, (server, name, address, port) in enumerate(cursor.fetchall())
        ]

    @staticmethod
    def _bump(cursor: extensions.cursor, server: str, by: int) -> tuple[int]:
        cursor.execute(
            "UPDATE logical_server SET revision = revision + %s WHERE id = %s"
            " RETURNING revision - %s",
            (by, server, by),
        )
        (before,) = _row(cursor.fetchone())
        return (int(before),)

    @staticmethod
    def _new_change(cursor: extensions.cursor) -> int:
        cursor.execute(
            "INSERT INTO change (actor, command, request) VALUES ('system:bench', 'bench', '{}')"
            " RETURNING id"
        )
        (change,) = _row(cursor.fetchone())
        return int(change)

    @staticmethod
    def _write_objects(
        cursor: extensions.cursor,
        change: int,
        server: str,
        objects: Sequence[tuple[str, int, bytes]],
        owner: int | None,
    ) -> None:
        execute_values(
            cursor,
            "INSERT INTO desired_object (logical_server_id, kind, key, revision, kind_version,"
            " spec, owner_id, change_id) VALUES %s ON CONFLICT (logical_server_id, kind, key)"
            " DO UPDATE SET revision = excluded.revision, spec = excluded.spec,"
            " change_id = excluded.change_id",
            [
                (server, ZONE.name, k, r, ZONE.version, spec, owner, change)
                for k, r, spec in objects
            ],
            page_size=PART,
        )
        execute_values(
            cursor,
            "INSERT INTO change_object (change_id, logical_server_id, kind, key, revision, after)"
            " VALUES %s",
            [(change, server, ZONE.name, k, r, spec) for k, r, spec in objects],
            page_size=PART,
        )


def _returned(
    cursor: extensions.cursor, sql: str, rows: Sequence[tuple[object, ...]]
) -> dict[str, int]:
    return dict(execute_values(cursor, sql, rows, page_size=len(rows), fetch=True))


def _row(found: tuple[Any, ...] | None) -> tuple[Any, ...]:
    assert found is not None
    return found
