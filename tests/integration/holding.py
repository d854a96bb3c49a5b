"""Changes that are held back, and who approves them."""

from typing import Any

import pytest

from controller.holding import HeldBackError
from controller.principal import Principal
from controller.refusal import CommandError
from controller.runner import CommandResult
from tests.integration.hosted import name_servers
from tests.integration.model import Model

NS1, NS2, NS3 = (f"ns{number}.example.net" for number in range(1, 4))
OTHER = Principal("provider", "operator:bob", origin="test")


async def zones(model: Model, count: int) -> None:
    """Make zones with ns1 as master and ns2 as slave, and a third name server for new ones."""
    await model.cluster()
    await model.ask("account.add", name="acme")
    await model.ask("dns.roles", master=NS1, slave1=NS2)
    for number in range(count):
        await model.ask("domain.add", name=f"z{number}.test", account="acme")
    await name_servers(model, 3)


async def approve(model: Model, held: int, who: Principal = OTHER, **more: Any) -> CommandResult:
    """Approve, with ``hazard_id=number`` for each that is accepted."""
    how = {name: more.pop(name) for name in ("dry_run", "idempotency_key") if name in more}
    accept = {name.replace("_", "-"): number for name, number in more.items()}
    return await model.run_as(who, "change.approve", id=held, accept=accept, **how)


async def not_approved(model: Model, held: int, **accept: int) -> CommandError:
    """Give why an approval is refused, and see that it wrote nothing."""
    before = await model.footprint()
    with pytest.raises(CommandError) as caught:
        await approve(model, held, **accept)
    assert await model.footprint() == before
    return caught.value


def ids(error: HeldBackError) -> dict[str, int]:
    return {hazard.id: hazard.number for hazard in error.hazards}
