"""Finding and repairing what a box holds otherwise than acknowledged: by diff, never by wiping."""

from collections.abc import Sequence
from functools import partial

import attrs
from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from controller.crash_points import CrashSite, pass_by
from controller.fleet.dispatch import Dispatcher
from controller.fleet.lane_store import BATCH_OBJECTS, LaneKey, desired, named
from controller.fleet.link import LaneLink
from controller.fleet.loading import Inline
from controller.fleet.repair import WOULD_REMOVE, ObjectName, Repair, compare, is_mass_delete
from controller.fleet.words import FLEET, ConditionWord
from controller.storage.database import Database, Transaction
from node_agent.wire.codec import WireError
from node_agent.wire.messages import Adopt, Forget, Inventory, InventoryRequest
from node_agent.wire.object_hash import MODULUS, element

log = Logger()

MOST_OBJECTS, LONGEST_NAME = 2_000_000, 512
"""Objects of one inventory, and characters of one's kind and key, at most: a box cannot fill the
controller's memory."""
FORGET_AT_ONCE = 1000
COMPARISONS_AT_ONCE = 8
"""Lanes whose inventories are on their way or in work; the others wait (ADR 24)."""
INVENTORY_SECONDS = 120.0
"""For an inventory, from the request to its last page; then it is another lane's turn."""
SLOWEST_OBJECTS = 500.0
"""Objects a second that prolong it: a large lane on a slow link ends, who only dawdles does not."""
RETRY_SECONDS = 5.0
"""From a comparison that failed to the next."""


@attrs.frozen
class Compared:
    """What a comparison came to: the repair, and the lane as it is to be dispatched from now on."""

    repair: Repair
    removed: int
    stored: int
    refused: str


class Comparisons:
    """The inventories on their way, and what follows from them."""

    def __init__(
        self,
        database: Database,
        reactor: IReactorTime,
        inline: Inline,
        at: CrashSite = pass_by,
    ) -> None:
        self._database = database
        self._reactor = reactor
        self._inline = inline
        self._at = at
        self._waiting: dict[LaneLink, None] = {}
        self._pages: dict[LaneLink, dict[ObjectName, int]] = {}
        self._deadlines: dict[LaneLink, IDelayedCall] = {}
        self._settling: set[LaneLink] = set()
        self._confirmed: dict[LaneKey, int] = {}
        self._keeping: set[LaneLink] = set()
        self.dispatcher: Dispatcher

    def begin(self, link: LaneLink) -> None:
        """Ask for a lane's inventory; a lane that was compared on this session is left as it is."""
        if link.ended or link.mode == "comparing":
            return
        if link.repaired:
            log.error("lane {lane}: differs even after its repair", lane=link.key)
            return
        link.mode, link.repaired = "comparing", True
        self._told(link)  # an operator may begin it anew while one is on its way
        self._waiting[link] = None
        self._next()

    def _next(self) -> None:
        """Ask for the inventories of those that wait, as many as may be in work."""
        while self._waiting and len(self._pages) + len(self._settling) < COMPARISONS_AT_ONCE:
            link = next(iter(self._waiting))
            del self._waiting[link]
            self._pages[link] = {}
            self._deadlines[link] = self._reactor.callLater(INVENTORY_SECONDS, self._late, link)
            link.send(InventoryRequest(lane=link.key[1]))

    def _told(self, link: LaneLink) -> dict[ObjectName, int]:
        """Wait for no more of an inventory; give what came of it."""
        deadline = self._deadlines.pop(link, None)
        if deadline is not None and deadline.active():
            deadline.cancel()
        return self._pages.pop(link, {})

    def _late(self, link: LaneLink) -> None:
        self._told(link)
        self._failed("the inventory did not come in time", link)
        self._next()

    def adopt(self, link: LaneLink, *, overwrite: bool, removed: int | None) -> None:
        """Take a lane that is ahead over into this history, as an operator chose.

        ``overwrite``: all that the model has is sent, and what it has not is removed; where that
        is a mass delete, ``removed`` must name the number. Else the box keeps what it has, and is
        sent what it lacks and what was changed since the restore. How it is then, is told once that
        was compared.
        """
        link.send(Adopt(lane=link.key[1], history=link.history, overwrite=overwrite))
        link.box_stored, link.repaired, link.mode = 0, False, "open"
        link.recovering, link.meanwhile = True, None
        if overwrite and removed is not None:
            self._confirmed[link.key] = removed
        if overwrite:
            self.begin(link)
        else:
            self.keep(link)

    def keep(self, link: LaneLink) -> None:
        """Go on from what an adopted lane has."""
        self._keeping.add(link)
        self.begin(link)

    def page(self, link: LaneLink, message: Inventory) -> None:
        """Take a page of an inventory that was asked for; raises `WireError` for another."""
        pages = self._pages.get(link)
        if pages is None:
            raise WireError("an inventory that nobody asked for")
        before = len(pages)
        for kind, key, revision in message.items:
            if len(kind) + len(key) > LONGEST_NAME:
                raise WireError(f"the name of an object has more than {LONGEST_NAME} characters")
            pages[(kind, key)] = revision
        # A lane has no more objects than revisions: what a box makes up beyond wins it no time.
        came = min(len(pages), link.server_revision) - min(before, link.server_revision)
        self._deadlines[link].delay(came / SLOWEST_OBJECTS)
        if len(pages) > MOST_OBJECTS:
            raise WireError(f"an inventory of more than {MOST_OBJECTS} objects")
        if message.last:
            self._settling.add(link)
            settled = ensureDeferred(self._finish(link, self._told(link)))
            settled.addErrback(self._failed, link).addBoth(self._settled, link)

    def ended(self, link: LaneLink) -> None:
        """Forget what an ended session was telling."""
        self._waiting.pop(link, None)
        self._told(link)
        self._keeping.discard(link)
        self._next()

    def _settled(self, result: object, link: LaneLink) -> None:
        self._settling.discard(link)
        self._next()

    def _failed(self, failure: object, link: LaneLink) -> None:
        """Compare again, as it was chosen: most likely the database was away for a moment."""
        if link.ended:
            return
        log.error("lane {lane}: comparison failed: {why}", lane=link.key, why=failure)
        self._deadlines[link] = self._reactor.callLater(RETRY_SECONDS, self._again, link)

    def _again(self, link: LaneLink) -> None:
        link.repaired, link.mode = False, "open"
        self.begin(link)

    async def _finish(self, link: LaneLink, inventory: dict[ObjectName, int]) -> None:
        if link in self._keeping:
            revision = await self._database.transaction(
                FLEET, partial(keep, link=link, inventory=inventory), name="fleet.keep"
            )
            self._keeping.discard(link)
            if not link.ended:
                link.mode, link.adopted = "open", True
                self._went_on(link)
                link.server_revision = max(link.server_revision, revision)
                self.dispatcher.skip(link, link.stored)
            return
        confirmed = self._confirmed.get(link.key)
        compared = await self._database.transaction(
            FLEET,
            partial(
                settle, link=link, inventory=inventory, confirmed=confirmed, inline=self._inline
            ),
            name="fleet.compare",
        )
        self._confirmed.pop(link.key, None)
        self._at("compared")
        if link.ended:
            return
        repair, link.adopted = compared.repair, False
        log.warn(
            "lane {lane}: {send} objects are sent again, {forget} forgotten, {newer} are newer"
            " on the box {refused}",
            lane=link.key,
            send=len(repair.send),
            forget=len(repair.forget),
            newer=len(repair.newer),
            refused=compared.refused,
        )
        if compared.refused:
            link.mode, link.recovering = "closed", False
            self.dispatcher.say(link, ConditionWord("held", compared.refused))
            return
        self._went_on(link)
        link.stored = link.box_stored = compared.stored
        link.in_flight = None
        for start in range(0, len(repair.forget), FORGET_AT_ONCE):
            link.send(Forget(lane=link.key[1], items=repair.forget[start : start + FORGET_AT_ONCE]))
        link.again, link.mode = repair.send, "open"
        self.dispatcher.wake(link, bulk=True)

    def _went_on(self, link: LaneLink) -> None:
        """Tell how a lane is that goes on as an operator chose."""
        if link.recovering:
            link.recovering = False
            self.dispatcher.say(link, link.meanwhile or ConditionWord("ok", ""))


async def settle(
    tx: Transaction,
    link: LaneLink,
    inventory: dict[ObjectName, int],
    confirmed: int | None,
    inline: Inline,
) -> Compared:
    """Compare an inventory with the model and note what the box was seen to hold."""
    box, server = link.key
    through = min(link.stored, link.box_stored)
    wanted = await desired(tx, server)
    repair = compare(inventory, wanted, through)
    removed = len(repair.forget) + sum(wanted[name].deleted for name in repair.send)
    if is_mass_delete(removed, len(inventory)) and confirmed != removed:
        (name,) = await tx.row("SELECT name FROM logical_server WHERE id = %s", (server,))
        words = (
            f"{WOULD_REMOVE} {removed} of {len(inventory)} objects:"
            " an operator must confirm the number:"
            f" hsctl recover {name} --overwrite --removed {removed}"
        )
        return Compared(repair, removed, link.stored, words)
    kept = {name: rev for name, rev in inventory.items() if name in wanted}
    await _remember(tx, link.key, kept)
    same = [name for name in repair.keep if inventory.get(name) == wanted[name].revision]
    # Of an adopted box a share may be wrong: its revisions are of another history. All is sent
    # to it again, which takes every assumed share out of the sum.
    await _fill_shares(tx, link.key, same, inline)
    total = await tx.row(
        """SELECT coalesce(sum(share), 0) FROM lane_object
           WHERE box_id = %s AND logical_server_id = %s""",
        (box, server),
    )
    expected = int(total[0]) % MODULUS
    fresh = await tx.run(
        """UPDATE lane SET stored_revision = %s, expected_hash = %s, repairing = %s,
                  settled_revision = least(settled_revision, %s), adopted_history = NULL
           FROM box b WHERE lane.box_id = %s AND logical_server_id = %s
                AND b.id = lane.box_id AND b.session_epoch = %s""",
        (through, expected, bool(repair.send), through, box, server, link.epoch),
    )
    if not fresh:
        raise LookupError("the session is not the box's any more")
    return Compared(repair, removed, through, "")


async def keep(tx: Transaction, link: LaneLink, inventory: dict[ObjectName, int]) -> int:
    """Note what an adopted box holds, of unknown content, and have it sent what it lacks.

    What it had stored when the backup was made, and does not have now, becomes the newest of its
    server: so it is sent though the session ends, with what was changed since the restore. Gives
    the newest revision.
    """
    server = link.key[1]
    (revision,) = await tx.row(
        "SELECT revision FROM logical_server WHERE id = %s FOR UPDATE", (server,)
    )
    await tx.run("DELETE FROM lane_object WHERE box_id = %s AND logical_server_id = %s", link.key)
    await _remember(tx, link.key, inventory)
    wanted = await desired(tx, server)
    lacking = [
        name for name in compare(inventory, wanted, link.stored).send if name not in inventory
    ]
    await tx.run(
        """UPDATE desired_object d SET revision = %s + q.place
           FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS q(kind, key, place)
           WHERE d.logical_server_id = %s AND (d.kind, d.key) = (q.kind, q.key)""",
        (revision, [kind for kind, _ in lacking], [key for _, key in lacking], server),
    )
    revision += len(lacking)
    await tx.run("UPDATE logical_server SET revision = %s WHERE id = %s", (revision, server))
    await tx.run(
        """UPDATE lane SET adopted_history = %s, repairing = false
           WHERE box_id = %s AND logical_server_id = %s""",
        (link.history, *link.key),
    )
    return int(revision)


async def _remember(tx: Transaction, lane: LaneKey, held: dict[ObjectName, int]) -> None:
    """Make ``lane_object`` what the box holds; shares that are not known become null."""
    arrays = ([k for k, _ in held], [y for _, y in held], list(held.values()))
    await tx.run(
        """DELETE FROM lane_object o WHERE o.box_id = %s AND o.logical_server_id = %s
           AND NOT EXISTS (SELECT 1 FROM unnest(%s::text[], %s::text[], %s::bigint[])
                               AS q(kind, key, revision)
                           WHERE (q.kind, q.key, q.revision) = (o.kind, o.key, o.revision))""",
        (*lane, *arrays),
    )
    await tx.run(
        """INSERT INTO lane_object (box_id, logical_server_id, kind, key, revision)
           SELECT %s, %s, q.* FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS q
           ON CONFLICT DO NOTHING""",
        (*lane, *arrays),
    )


async def _fill_shares(
    tx: Transaction, lane: LaneKey, names: Sequence[ObjectName], inline: Inline
) -> None:
    """Compute the shares of objects that the box holds at the model's own revision."""
    rows = await tx.rows(
        """SELECT kind, key FROM lane_object
           WHERE box_id = %s AND logical_server_id = %s AND share IS NULL""",
        lane,
    )
    unknown = {(kind, key) for kind, key in rows}
    names = [name for name in names if name in unknown]
    for start in range(0, len(names), BATCH_OBJECTS):
        objects = await named(tx, lane[1], names[start : start + BATCH_OBJECTS])
        shares = []
        for item in objects:
            if item.spec is not None:
                spec = await inline(tx, item.spec, item.secrets) if item.secrets else item.spec
                shares.append((item, element(item.kind, item.key, item.revision, spec)))
        if not shares:
            continue
        await tx.run(
            """UPDATE lane_object o SET share = q.share
               FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::numeric[])
                    AS q(kind, key, revision, share)
               WHERE o.box_id = %s AND o.logical_server_id = %s AND o.kind = q.kind
                 AND o.key = q.key AND o.revision = q.revision""",
            (
                [item.kind for item, _ in shares],
                [item.key for item, _ in shares],
                [item.revision for item, _ in shares],
                [share for _, share in shares],
                *lane,
            ),
        )
