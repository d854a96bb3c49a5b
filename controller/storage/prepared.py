"""Prepared statements of one connection: what is asked again and again is parsed and planned once.

Most of a short statement's time goes into its planning, with row security above all. So a text that
a connection meets for the second time is prepared (between transactions, where a refusal costs
nothing), and executed by its name from then on. Policies are no obstacle: they read the principal
when the plan runs.

How long an array is, a statement on a click's path keeps from the planner: ``= ANY(ARRAY(SELECT
unnest(%s::bigint[])))``. Where the planner sees one or two, a plan for them looks cheaper than the
kept one for ten, and it plans anew for every question.

A prepared parameter has the type that PostgreSQL inferred, where a written-out value has its own.
A statement is therefore executed by name only where both come to the same; else it is sent as it
is, like one that cannot be prepared at all.
"""

import re
from collections.abc import Sequence
from datetime import datetime

import attrs
from psycopg2.extras import Json

MOST_TEXTS = 500
"""Texts that a connection remembers; further ones are sent as they are."""

_PREPARABLE = re.compile(r"\s*\(?\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")
_UNSURE = ("--", "/*", "$")
"""What may hide a semicolon or look like a parameter: such a text is sent as it is."""
_CUT = frozenset(f"{name}{array}" for name in ("character", "bit", "name") for array in ("", "[]"))
"""Types whose cast without a length cuts the value."""
_INTEGERS = {"smallint": 1 << 15, "integer": 1 << 31, "bigint": 1 << 63}
_KINDS: dict[type, tuple[str, ...]] = {
    bool: ("boolean",),
    int: ("numeric",),
    float: ("double precision", "numeric"),
    bytes: ("bytea",),
    datetime: ("timestamp with time zone",),
    Json: ("json", "jsonb"),
}
"""The types that mean the same as what psycopg2 writes; integers by their size."""


@attrs.frozen
class Statement:
    """One statement of a text, under its name, with the types of its parameters."""

    name: str
    kinds: tuple[str, ...]

    def call(self) -> str:
        """Give the SQL that executes it, with a placeholder for each parameter."""
        values = ", ".join(f"%s::{kind}" for kind in self.kinds)
        return f"EXECUTE {self.name}({values})" if self.kinds else f"EXECUTE {self.name}"


@attrs.frozen
class _Text:
    """How a text is executed: the SQL, and the kind of each parameter (None: not prepared)."""

    sql: str
    kinds: tuple[str | None, ...]

    def fits(self, parameters: Sequence[object]) -> bool:
        return len(parameters) == len(self.kinds) and all(
            kind is None or fits(value, kind)
            for value, kind in zip(parameters, self.kinds, strict=True)
        )


class Prepared:
    """What one connection has prepared. `Link` speaks; this remembers and decides."""

    def __init__(self) -> None:
        self._met: set[str] = set()
        self._due: dict[tuple[str, bool], None] = {}
        self._texts: dict[tuple[str, bool], _Text | None] = {}
        self._names = 0

    def executing(self, sql: str, parameters: Sequence[object]) -> str:
        """Give what to send for ``sql``: an EXECUTE where it was prepared, else ``sql`` itself."""
        # Without parameters psycopg2 leaves a percent sign alone: it is another text then.
        key = (sql, bool(parameters))
        if key in self._texts:
            text = self._texts[key]
            return text.sql if text is not None and text.fits(parameters) else sql
        if sql in self._met:
            self._due[key] = None
        elif len(self._met) < MOST_TEXTS:
            self._met.add(sql)
        return sql

    @property
    def has_due(self) -> bool:
        """Whether a text waits to be prepared."""
        return bool(self._due)

    def take_due(self) -> tuple[tuple[str, bool], ...]:
        """Give the texts to be prepared now, each once."""
        due, self._due = tuple(self._due), {}
        return due

    def name(self) -> str:
        """Give a name that no statement of the connection has."""
        self._names += 1
        return f"hs_{self._names}"

    def keep(self, key: tuple[str, bool], statements: Sequence[Statement | None]) -> None:
        """Note how the parts of a text were prepared; None for one that could not be."""
        sql, has_parameters = key
        if not any(statements):
            self._texts[key] = None
            return
        calls: list[str] = []
        kinds: list[str | None] = []
        for part, statement in zip(parts(sql), statements, strict=True):
            if statement is None:
                calls.append(part)
                kinds += [None] * (part.count("%s") if has_parameters else 0)
            else:
                calls.append(statement.call())
                kinds += statement.kinds
        self._texts[key] = _Text("; ".join(calls), tuple(kinds))


def parts(sql: str) -> list[str]:
    """Cut a text into its statements; gives none where that is not certain."""
    if any(mark in sql for mark in _UNSURE):
        return []
    found = [part for part in sql.split(";") if part.strip()]
    return [] if any(part.count("'") % 2 or part.count('"') % 2 for part in found) else found


def preparing(part: str, *, has_parameters: bool) -> str | None:
    """Give a statement with numbered parameters, or None where it is not one to be prepared."""
    if _PREPARABLE.match(part) is None:
        return None
    if not has_parameters:
        return part
    pieces = [piece.replace("%%", "\0") for piece in part.split("%s")]
    if any("%" in piece for piece in pieces):
        return None
    numbered = "".join(
        piece if number == 0 else f"${number}{piece}" for number, piece in enumerate(pieces)
    )
    return numbered.replace("\0", "%")


def usable(kinds: Sequence[str]) -> bool:
    """Tell whether values can be cast to these types without being cut."""
    return not _CUT & set(kinds)


def fits(value: object, kind: str) -> bool:
    """Tell whether ``value`` means the same as a parameter of ``kind`` and written into the SQL."""
    if value is None or isinstance(value, str):
        return True  # written out, it is a literal whose type is inferred in the same way
    if isinstance(value, list):
        return kind.endswith("[]") and all(
            isinstance(each, list) or fits(each, kind[:-2]) for each in value
        )
    if type(value) is int and kind in _INTEGERS:
        return -_INTEGERS[kind] <= value < _INTEGERS[kind]
    if isinstance(value, datetime) and value.tzinfo is None:
        return False
    return kind in _KINDS.get(type(value), ())
