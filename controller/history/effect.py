"""What a change came to, thing by thing, and whether another change is its exact reverse. Pure.

A change's rows are images of the model, whole or in part. Here each becomes a `Thing` (a record, a
site, a box ...) with what it was and is. What only grows (versions, serials) makes no difference:
an undo moves on as every change does.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs

from controller.changes import ChangedRow
from controller.refusal import CommandError

_GROWING = frozenset({"version", "serial", "revision"})
_ADDRESS = ("logical_server", "prefix", "port", "type", "tag")
_ABSENT = object()


class Kept(dict[str, Any]):
    """What a change kept of a thing. What it did not keep is a refusal, never a guess."""

    def __missing__(self, name: str) -> Any:
        raise not_kept(name)


Image = Kept | None


def not_kept(what: str) -> CommandError:
    """Give the refusal for a change that an earlier version wrote with less in it."""
    return CommandError(
        "undo.not-kept",
        f"the change did not keep what an undo needs: {what}",
        field="id",
        allowed="hsctl change show tells what it kept: write that back by hand",
        status=409,
    )


@attrs.frozen(order=True)
class Thing:
    """One thing of the model. ``part`` is the data of a record, which its key does not tell."""

    relation: str
    key: str
    part: str = ""

    def __str__(self) -> str:
        words = f"{self.relation.replace('_', ' ')} {self.key}"
        return f"{words} {self.part}".strip()


@attrs.frozen
class Turn:
    """What a thing was and is; None where it was, or is, not there."""

    before: Image
    after: Image

    @property
    def difference(self) -> dict[tuple[str, ...], tuple[Any, Any]]:
        """What differs: (old, new) by its place. A thing that came or went differs as a whole."""
        if self.before is None or self.after is None:
            whole = _lasting(self.before), _lasting(self.after)
            return {} if whole == (None, None) else {(): whole}
        return dict(_differing(self.before, self.after, ()))


Effect = Mapping[Thing, Turn]


def effect_of(rows: Iterable[ChangedRow], *, derived_zone: str) -> dict[Thing, Turn]:
    """Give what rows come to, in the order in which things were first touched.

    The zone ``derived_zone`` (the service zone) follows from the addresses and is left out.
    """
    effect: dict[Thing, Turn] = {}
    for row in rows:
        for thing, turn in _turns(row):
            if thing.relation in ("zone", "record") and _zone_of(thing) == derived_zone:
                continue
            known = effect.get(thing)
            effect[thing] = turn if known is None else _then(known, turn)
    return {thing: turn for thing, turn in effect.items() if turn.difference}


def unlike(done: Effect, undone: Effect) -> list[Thing]:
    """Give the things that ``undone`` does not bring exactly back from ``done``."""
    nothing = Turn(None, None)
    return [
        thing
        for thing in dict.fromkeys([*done, *undone])
        if undone.get(thing, nothing).difference
        != {place: (new, old) for place, (old, new) in done.get(thing, nothing).difference.items()}
    ]


def _then(first: Turn, second: Turn) -> Turn:
    """Give two turns of one thing as one. Images in part complete each other."""
    before = first.before
    if before is not None and first.after is not None and second.before is not None:
        before = Kept(second.before | before)
    after = second.after
    if after is not None and first.after is not None and second.before is not None:
        after = Kept(first.after | after)
    return Turn(before, after)


def _turns(row: ChangedRow) -> Iterator[tuple[Thing, Turn]]:
    if row.relation == "held_change":
        return  # that it was approved is how the change came about, and nothing of the model
    if row.relation == "zone":
        yield from _zone_turns(row)
    elif row.relation == "record":
        data = (row.before or row.after or {}).get("data", "")
        yield Thing("record", row.key, data), _turn(row, _record)
    elif row.relation == "ip_address":
        key = row.key.rpartition(" ")[0]
        yield Thing("ip_address", key), _turn(row, _address)
    else:
        tidy = _server if row.relation == "logical_server" else Kept
        yield Thing(row.relation, row.key), _turn(row, tidy)


def _turn(row: ChangedRow, tidy: Callable[[Mapping[str, Any]], Kept]) -> Turn:
    before, after = (None if image is None else tidy(image) for image in (row.before, row.after))
    return Turn(before, after)


def _zone_turns(row: ChangedRow) -> Iterator[tuple[Thing, Turn]]:
    """Take a zone that came or went apart into itself and its records."""
    yield Thing("zone", row.key), _turn(row, lambda image: Kept(_without(image, "records")))
    for image, came in ((row.before, False), (row.after, True)):
        for record in (image or {}).get("records", ()):
            key, kept = f"{row.key} {record['name']} {record['type']}", _record(record)
            turn = Turn(None, kept) if came else Turn(kept, None)
            yield Thing("record", key, record["data"]), turn


def _zone_of(thing: Thing) -> str:
    return thing.key.partition(" ")[0]


def _without(image: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in image.items() if name not in names}


def _lasting(image: Image) -> dict[str, Any] | None:
    return None if image is None else _without(image, *_GROWING)


def _record(image: Mapping[str, Any]) -> Kept:
    return Kept({name: image[name] for name in ("ttl", "generated") if name in image})


def _address(image: Mapping[str, Any]) -> Kept:
    kept = {name: image[name] for name in _ADDRESS if name in image}
    return Kept({**kept, "count": image.get("count", 1)})


def _server(image: Mapping[str, Any]) -> Kept:
    """Give a logical server with its DNS role where settings have it."""
    kept = Kept(_without(image, "role"))
    if "role" in image:
        role = {} if image["role"] == "none" else {"role": image["role"]}
        kept["settings"] = {**kept.get("settings", {}), **role}
    return kept


def _differing(
    before: Mapping[str, Any], after: Mapping[str, Any], place: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], tuple[Any, Any]]]:
    for name in dict.fromkeys([*before, *after]):
        if name in _GROWING and not place:
            continue
        old, new = before.get(name, _ABSENT), after.get(name, _ABSENT)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differing(old, new, (*place, name))
        elif old != new:
            given = tuple(None if value is _ABSENT else value for value in (old, new))
            yield (*place, name), (given[0], given[1])
