"""The model of a large fleet, by SQL: boxes with one logical server each, and changes for all."""

from typing import Any

import attrs
import psycopg2
from psycopg2 import extensions

PART = 500
"""Objects of one change, at most, as the commands cut them."""

_BOXES = """
INSERT INTO box (name, address, groups)
SELECT 'crowd' || n, ('10.' || n / 250 || '.' || n %% 250 || '.1/24')::inet, '{dns}'
FROM generate_series(1, %(count)s) n;

INSERT INTO logical_server (name, group_name, service_type)
SELECT 'crowd' || n, 'dns', 'bind' FROM generate_series(1, %(count)s) n;

INSERT INTO lane (box_id, logical_server_id)
SELECT b.id, s.id FROM box b JOIN logical_server s ON s.name = b.name;

ANALYZE box, logical_server, lane;
"""

_CHANGE = """
WITH made AS (
    INSERT INTO change (actor, command, request) VALUES ('system:bench', 'bench', '{}')
    RETURNING id
), bumped AS (
    UPDATE logical_server SET revision = revision + 1
    WHERE id IN (SELECT id FROM logical_server WHERE name = ANY(%(names)s) ORDER BY id FOR UPDATE)
    RETURNING id, name, revision
), object AS (
    INSERT INTO desired_object (logical_server_id, kind, key, revision, kind_version, spec,
                                change_id)
    SELECT b.id, 'zone', b.name || '.test', b.revision, 1, %(spec)s, made.id FROM bumped b, made
    ON CONFLICT (logical_server_id, kind, key)
    DO UPDATE SET revision = excluded.revision, spec = excluded.spec,
                  change_id = excluded.change_id
), logged AS (
    INSERT INTO change_object (change_id, logical_server_id, kind, key, revision, after)
    SELECT made.id, b.id, 'zone', b.name || '.test', b.revision, %(spec)s FROM bumped b, made
)
SELECT pg_notify('hs_change', id::text) FROM made
"""


@attrs.define
class FleetModel:
    """Boxes ``crowd1`` to ``crowdCOUNT``, each with a logical server of its name."""

    _connection: extensions.connection
    count: int

    @classmethod
    def open(cls, database_url: str, count: int) -> "FleetModel":
        """Make the boxes in a database that has none of them."""
        connection = psycopg2.connect(database_url)
        with connection, connection.cursor() as cursor:
            cursor.execute("SET SESSION hs.principal = 'provider'")
            cursor.execute(_BOXES, {"count": count})
        return cls(connection, count)

    def close(self) -> None:
        self._connection.close()

    def boxes(self) -> list[str]:
        """Give the ids of the boxes."""
        return [str(row[0]) for row in self._rows("SELECT id FROM box ORDER BY name")]

    def change(self, spec: bytes, first: int = 1, last: int | None = None) -> None:
        """Give each of some boxes one new version of its one zone, in changes of `PART` objects."""
        last = self.count if last is None else last
        for start in range(first, last + 1, PART):
            names = [f"crowd{n}" for n in range(start, min(start + PART, last + 1))]
            with self._connection, self._connection.cursor() as cursor:
                cursor.execute(_CHANGE, {"names": names, "spec": spec})

    def settled(self) -> int:
        """Count the boxes that have told that all they are to serve is live."""
        found = self._rows(
            "SELECT count(*) FROM lane l JOIN logical_server s ON s.id = l.logical_server_id"
            " WHERE l.settled_revision = s.revision AND l.stored_revision = s.revision"
        )
        return int(found[0][0])

    def connected(self) -> int:
        """Count the boxes that the model shows as connected."""
        return int(self._rows("SELECT count(*) FROM box WHERE connected")[0][0])

    def revisions(self) -> dict[int, int]:
        """Count the boxes by the revision that they must serve."""
        found = self._rows("SELECT revision, count(*) FROM logical_server GROUP BY 1")
        return {int(revision): int(count) for revision, count in found}

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self._connection, self._connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())
