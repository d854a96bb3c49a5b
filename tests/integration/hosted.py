"""A cluster whose name servers have zones of a customer, and more name servers for it."""

from tests.integration.applying import applied
from tests.integration.model import Model

NS1, NS2, NS3, NS4 = (f"ns{number}.example.net" for number in range(1, 5))


async def hosted(model: Model, count: int = 1) -> list[str]:
    """Make the cluster with ``count`` domains; ns1 is master of them, ns2 slave."""
    await model.cluster()
    await model.ask("account.add", name="acme")
    await model.ask("dns.roles", master=NS1, slave1=NS2)
    names = [f"z{number}.test" for number in range(count)]
    for name in names:
        await model.ask("domain.add", name=name, account="acme")
    await applied(model)
    return names


async def name_servers(model: Model, *numbers: int) -> None:
    """Add name servers beside ns1 and ns2, open for signup."""
    for number in numbers:
        await model.box(f"ns{number}", number + 10, ("dns",))
        await model.server(f"ns{number}", "dns", "bind")
        await model.ask(
            "ip.add",
            lserver=f"ns{number}.example.net",
            first=f"192.0.2.{number + 10}",
            mask="24",
            type="service",
        )
        await model.ask("lserver.signup", name=f"ns{number}.example.net", signup=True)
    await model.write("UPDATE box SET first_seen_at = now()")


async def closed(model: Model, *servers: str) -> None:
    """Have name servers take no new zones: roles then want none on them."""
    for server in servers:
        await model.ask("lserver.signup", name=server, signup=False)
