"""A server that is renumbered, step by step, as the job that does it takes it."""

from controller.hosting.address_mover import advance
from controller.hosting.address_phases import Renumbering
from controller.hosting.certificates import self_signed
from controller.hosting.moves import GRACE_SECONDS
from controller.hosting.service_zone import TTL, ServiceZone
from controller.principal import system
from controller.projection.stored import ServerProjection
from controller.storage.database import Transaction
from tests.integration.applying import applied
from tests.integration.hosted import NS1, NS2
from tests.integration.model import NOW, Model

WEB1 = "web1.example.net"
OLD, NEW = "192.0.2.1", "192.0.2.101"
"""Addresses of ns1, before and after."""
WEB_OLD, WEB_NEW = "192.0.2.3", "192.0.2.103"
LATER = NOW + TTL + GRACE_SECONDS


def renumbering(model: Model) -> Renumbering:
    return Renumbering(
        ServerProjection(model.secrets, self_signed),
        ServiceZone(lambda: float(NOW), "198.51.100.99"),
    )


async def step(model: Model, now: float = NOW) -> str:
    async def work(tx: Transaction) -> str:
        return await advance(tx, renumbering(model), now=now)

    outcome: str = await model.database.transaction(system("test"), work, name="test")
    return outcome


async def phase(model: Model, move: int) -> str:
    return str((await model.ask("ip.progress", id=move))["phase"])


async def until(model: Model, move: int, wanted: str, now: float = NOW) -> None:
    """Let the boxes apply all, until a phase was begun with."""
    for _ in range(100):
        if await phase(model, move) == wanted:
            return
        await applied(model)
        await step(model, now)
    raise AssertionError(f"{wanted} does not come: {await model.ask('ip.progress', id=move)}")


async def to_the_end(model: Model, now: float = NOW) -> None:
    """Let the boxes apply all, until nothing is left to do now."""
    for _ in range(100):
        await applied(model)
        if await step(model, now) != "moved":
            return
    raise AssertionError("the move does not end")


async def listening(model: Model, server: str) -> list[str]:
    spec = (await model.objects(server))["server", ""]
    return [endpoint["address"] for endpoint in spec["endpoints"]]


async def peers(model: Model, zone: str) -> dict[str, list[str]]:
    """Give whom each name server of a zone transfers it from, or lets transfer it."""
    found = {}
    for server in (NS1, NS2):
        spec = (await model.objects(server))["zone", zone]
        others = spec["masters"] if spec["role"] == "secondary" else spec["secondaries"]
        found[server] = [endpoint["address"] for endpoint in others]
    return found


async def published(model: Model, zone: str, name: str) -> list[str]:
    found = await model.rows(
        """SELECT r.data FROM record r JOIN zone z ON z.id = r.zone_id
           WHERE z.name = %s AND r.name = %s AND r.type IN ('A', 'AAAA') ORDER BY r.data""",
        (zone, name),
    )
    return [data for (data,) in found]
