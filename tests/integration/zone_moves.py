"""A move of zones, step by step, as the job that moves them takes it."""

from random import Random

from controller.hosting.zone_mover import advance
from controller.principal import system
from controller.storage.database import Transaction
from tests.integration.applying import applied
from tests.integration.model import NOW, Model


async def step(model: Model, now: float = NOW) -> str:
    async def work(tx: Transaction) -> str:
        return await advance(tx, now=now, draw=Random(3))

    outcome: str = await model.database.transaction(system("test"), work, name="test")
    return outcome


async def to_the_end(model: Model, now: float = NOW) -> None:
    """Let the boxes apply each phase, until nothing is left to do now."""
    for _ in range(100):
        await applied(model)
        if await step(model, now) != "moved":
            return
    raise AssertionError("the move does not end")


async def served(model: Model, zone: str) -> dict[str, str]:
    """Give what each server has of a zone: ``master``, or whom it takes the zone from."""
    found = {}
    names = {
        address: name
        for name, address in await model.rows(
            """SELECT s.name, host(i.address) FROM logical_server s
           JOIN ip_address i ON i.logical_server_id = s.id AND s.group_name = 'dns'"""
        )
    }
    for server in names.values():
        spec = (await model.objects(server)).get(("zone", zone))
        if spec is not None:
            masters = [names[master["address"]] for master in spec.get("masters", ())]
            found[server] = "master" if spec["role"] == "master" else f"from {masters[0]}"
    return found
