"""Going on with boxes that know more than the database: the command ``lserver.recover``.

After the restore of an older backup a lane is *ahead* (design, section 3): nothing is sent to it
and nothing deleted there until an operator has chosen which side is right.
"""

from collections.abc import Callable, Collection
from typing import Any

import attrs

from controller.cluster.ports import FleetPort
from controller.cluster.servers.logical_servers import find_server
from controller.commands import Command, Work
from controller.fleet.repair import WOULD_REMOVE
from controller.hosting.zones import load_zone, renew_serial
from controller.projection.servers import ServerRow
from controller.refusal import CommandError

MODES = ("adopt", "overwrite")


@attrs.frozen
class RecoverServer:
    """Which side is right for the lanes of a logical server that are ahead.

    ``adopt``: the boxes keep what they have, and are sent what they lack and what was changed since
    the restore. ``overwrite``, also after that: the boxes get what the database says, and lose what
    it does not know; ``removed`` confirms the number of objects where those are many.
    """

    name: str
    mode: str
    removed: int | None = None


_COMPARED = "what the box holds is compared with what the database says"
"""Said of a lane from the command until the fleet says how it went on."""

_LANES = """
SELECT b.name, l.condition, l.message, b.connected, b.id::text
FROM lane l JOIN box b ON b.id = l.box_id
WHERE l.logical_server_id = %s
  AND (l.condition = 'ahead'
       OR (%s AND (l.condition = 'held' AND starts_with(l.message, %s)
                   OR l.adopted_history = (SELECT history FROM cluster))))
ORDER BY b.name
"""


@attrs.frozen
class Recovery:
    """The command on lanes that are ahead."""

    fleet: FleetPort
    clock: Callable[[], float]

    async def recover(self, work: Work, request: RecoverServer) -> dict[str, Any]:
        """Choose for a logical server's lanes that are ahead."""
        if request.mode not in MODES:
            raise CommandError(
                "lserver.recover.mode",
                "this is no way to recover",
                field="mode",
                value=request.mode,
                allowed=" or ".join(MODES),
            )
        overwrite = request.mode == "overwrite"
        server = await find_server(work.tx, request.name)
        # A lane that waits for the number of removals is shown as held, as others are too.
        lanes = await work.tx.rows(_LANES, (server.id, overwrite, WOULD_REMOVE))
        boxes = [box for box, _, _, connected, _ in lanes if connected]
        if not boxes:
            raise CommandError(
                "lserver.not-ahead",
                "no connected box of this logical server is ahead"
                if not lanes
                else f"not connected: {', '.join(lane[0] for lane in lanes)}",
                field="name",
                value=server.name,
                allowed="a logical server with a connected box that `hsctl status` shows as ahead; "
                "one that was adopted can be overwritten, once",
                status=409,
            )
        for box, condition, message, connected, _ in lanes:
            if connected:
                before = {"condition": condition, "message": message}
                after = {"recovered": request.mode, "removed": request.removed}
                work.change.row("lane", f"{server.name} {box}", before, after)
        # Before a box is told: where its session ends too early, the next goes on as was chosen.
        await work.tx.run(
            """UPDATE lane l SET adopted_history = CASE WHEN NOT %s THEN c.history END,
                      condition = 'behind', message = %s
               FROM cluster c, box b
               WHERE l.logical_server_id = %s AND b.id = l.box_id AND b.name = ANY(%s)""",
            (overwrite, _COMPARED, server.id, boxes),
        )
        if overwrite:
            await self._renew_serials(work, server)
        ids = [id_ for *_, connected, id_ in lanes if connected]
        work.tx.after_commit(lambda: self._adopt(server, request, ids))
        return {"logical_server": server.name, "mode": request.mode, "boxes": boxes}

    def _adopt(self, server: ServerRow, request: RecoverServer, boxes: Collection[str]) -> None:
        overwrite = request.mode == "overwrite"
        self.fleet.adopt(server.id, overwrite=overwrite, removed=request.removed, boxes=boxes)

    async def _renew_serials(self, work: Work, server: ServerRow) -> None:
        """Give the zones that this server is master of serials above those that boxes answered.

        Secondaries would take a zone with an older serial for one that they have already
        (RFC 1982), and go on answering what is overwritten.
        """
        zones = await work.tx.rows(
            """SELECT z.name FROM zone z JOIN zone_server n ON n.zone_id = z.id
               WHERE n.logical_server_id = %s AND n.role = 'master' ORDER BY z.name""",
            (server.id,),
        )
        for (name,) in zones:
            zone = await load_zone(work.tx, name, lock=True)
            if zone is not None:
                await renew_serial(work, zone, now=int(self.clock()))

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "lserver.recover",
                "POST",
                "/lservers/{name}/recovery",
                RecoverServer,
                "provider.write",
                "Go on with boxes that know more than the database",
                self.recover,
                description="mode adopt: the boxes keep what they have, and are sent what they"
                " lack; overwrite, also after that: they get what the database says."
                " removed confirms the number of objects that go.",
            ),
        )
