"""What lanes are to be sent next: backlogs, or objects by name; secrets are put in here."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import attrs

from controller.fleet.committed import Pending, Watch
from controller.fleet.lane_store import (
    Backlog,
    LaneKey,
    Touched,
    backlogs,
    named_in_bytes,
    newest_small,
    small_changes,
    touched_by,
)
from controller.fleet.link import LaneLink, Turn
from controller.fleet.repair import ObjectName
from controller.storage.database import Transaction
from controller.storage.key_file import SecretError

Inline = Callable[[Transaction, bytes, Sequence[int]], Awaitable[bytes]]
"""Puts secrets into a spec's bytes where it refers to them (`controller.storage.secrets`)."""


@attrs.frozen
class Load:
    """What one lane is to be sent, with specs as they are sent; ``refused`` says why not.

    ``turn`` is what was asked for by name, if it was, and ``left`` what of it did not fit.
    """

    link: LaneLink
    through: int
    complete: bool
    objects: tuple[tuple[Pending, bytes | None], ...]
    turn: Turn | None = None
    left: tuple[ObjectName, ...] = ()
    refused: str = ""


@attrs.frozen
class Found:
    """What one read found."""

    touched: Sequence[Touched]
    watches: Sequence[Watch]
    loads: Sequence[Load]


async def read(
    tx: Transaction,
    *,
    changes: Sequence[int],
    links: Sequence[LaneLink],
    served: Mapping[str, Mapping[LaneKey, LaneLink]],
    chosen: list[LaneLink],
    inline: Inline,
) -> Found:
    """Read what ``changes`` touched, and what ``links`` and the lanes ``served`` of the touched
    servers are to be sent. These are noted in ``chosen``, and as being fetched.
    """
    fetched(chosen)  # a retried transaction begins anew
    chosen.clear()
    touched, watches = await touched_by(tx, changes) if changes else ([], [])
    candidates = {link.key: link for link in links}
    for touch in touched:
        for link in served.get(touch.server, {}).values():
            link.server_revision = max(link.server_revision, touch.revision)
            candidates[link.key] = link
    await _find_early(tx, changes, [link for link in candidates.values() if link.behind])
    chosen.extend(link for link in candidates.values() if link.ready)
    for link in chosen:
        link.fetching = True
    turns = {link.key: link.turn() for link in chosen}
    plain = {link.key: link.stored for link in chosen if turns[link.key] is None}
    found = await backlogs(tx, plain) if plain else {}
    loads = []
    for link in chosen:
        turn = turns[link.key]
        if turn is not None:
            objects, left = await named_in_bytes(tx, link.key[1], turn.names)
            # Beside or before what is still to come: the lane is no more complete by it.
            backlog = Backlog(link.stored, True, objects)
            load = await _load(tx, link, backlog, inline)
            loads.append(attrs.evolve(load, turn=turn, left=left))
        elif link.key in found:
            loads.append(await _load(tx, link, found[link.key], inline))
    return Found(touched, watches, loads)


def fetched(chosen: Sequence[LaneLink]) -> None:
    """Note that nothing is read for these links any more."""
    for link in chosen:
        link.fetching = False


async def _find_early(tx: Transaction, changes: Sequence[int], links: Sequence[LaneLink]) -> None:
    """Find what small changes touched on lanes that are behind: it is to overtake."""
    if not links:
        return
    by_server = await small_changes(tx, changes) if changes else {}
    for link in links:
        link.put_early(by_server.get(link.key[1], {}))
        if not link.looked_early and link.stored:
            # The session began in the midst of a fill: what was to overtake it still is. Of a lane
            # that has nothing yet, not even its server, nothing could be applied early.
            link.looked_early = True
            link.put_early(await newest_small(tx, link.key[1], link.stored))


async def _load(tx: Transaction, link: LaneLink, backlog: Backlog, inline: Inline) -> Load:
    objects = []
    for pending in backlog.objects:
        spec = pending.spec
        if spec is not None and pending.secrets:
            try:
                spec = await inline(tx, spec, pending.secrets)
            except SecretError as error:
                words = f"{pending.kind} {pending.key}: a secret cannot be opened: {error}"
                return Load(link, link.stored, True, (), refused=words)
        objects.append((pending, spec))
    return Load(link, backlog.through, not backlog.more, tuple(objects))
