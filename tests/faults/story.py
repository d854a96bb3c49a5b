"""A story in which every command that writes has its place, and what happens in between."""

from collections.abc import Awaitable, Callable
from typing import Any

import attrs

from controller.storage import people
from controller.storage.database import Transaction
from node_agent.wire.questions import ActionDone, ServiceFacts, Verified
from tests.integration.applying import applied
from tests.integration.hosted import name_servers
from tests.integration.model import OPERATOR, Model
from tests.integration.test_shared_ssl import PAIR, SHARED

NS1, NS2, NS3, WEB1, WEB2 = (
    f"{name}.example.net" for name in ("ns1", "ns2", "ns3", "web1", "web2")
)
CRON = ServiceFacts(
    name="cron", kind="system", state="stopped", boots="disabled", actions=("start", "enable")
)


@attrs.frozen
class Tried:
    """One command of the story, and what happens in the world before it."""

    command: str
    fields: dict[str, Any] | Callable[[Model], Awaitable[dict[str, Any]]]
    before: Callable[[Model], Awaitable[None]] | None = None


def tried(command: str, /, **fields: Any) -> Tried:
    return Tried(command, fields)


async def newest_token(model: Model) -> dict[str, Any]:
    ((token,),) = await model.rows("SELECT max(id) FROM api_token")
    return {"id": token}


async def newest_change(model: Model) -> dict[str, Any]:
    ((change,),) = await model.rows("SELECT max(id) FROM change WHERE command = 'site.set'")
    return {"id": change}


async def newest_zone_move(model: Model) -> dict[str, Any]:
    ((move,),) = await model.rows("SELECT max(id) FROM zone_move")
    return {"id": move}


async def newest_address_move(model: Model) -> dict[str, Any]:
    ((move,),) = await model.rows("SELECT max(id) FROM address_move")
    return {"id": move}


async def newest_rollout(model: Model) -> dict[str, Any]:
    ((rollout,),) = await model.rows("SELECT max(id) FROM rollout")
    return {"id": rollout}


async def rollout_paused(model: Model) -> None:
    await model.write("UPDATE rollout SET state = 'paused', message = 'web1: no memory'")


async def another_name_server(model: Model) -> None:
    await name_servers(model, 4)
    await model.ask("dns.roles", master=NS2, slave1=NS1, slave2="ns4.example.net")
    await applied(model)


async def held_back(model: Model) -> dict[str, Any]:
    """Have zones' move to another name server held back: it changes their root NS."""
    return {"id": (await model.held("dns.apply")).held}


async def held_back_and_accepted(model: Model) -> dict[str, Any]:
    held = await model.held("dns.apply")
    return {"id": held.held, "accept": {hazard.id: hazard.number for hazard in held.hazards}}


async def exported(model: Model) -> dict[str, Any]:
    document = await model.ask("model.export")
    document["boxes"]["web1"]["description"] = "imported"
    return {"model": document}


async def served(model: Model) -> None:
    await applied(model)


async def connected(model: Model) -> None:
    await model.write("UPDATE box SET first_seen_at = now(), connected = true")


async def operators(model: Model) -> None:
    async def work(tx: Transaction) -> None:
        for name in ("ada", "eve"):
            await people.create_operator(tx, name, "x")
            await people.create_token(tx, name, "laptop")

    await model.database.transaction(OPERATOR, work, name="test")


async def action_answered(model: Model) -> None:
    model.fleet.answers = [ActionDone(service=CRON)]


async def verified(model: Model) -> None:
    await connected(model)
    model.fleet.answers = [Verified(files=7, drifted=0, ended=False)]


async def fault(model: Model) -> None:
    await model.write(
        """INSERT INTO object_outcome (box_id, logical_server_id, kind, key, revision, outcome,
                                       message)
           SELECT l.box_id, o.logical_server_id, o.kind, o.key, o.revision, 'quarantined', 'no'
           FROM desired_object o JOIN lane l USING (logical_server_id)
           WHERE o.kind = 'zone' AND o.key = 'shop.test' LIMIT 1"""
    )


async def faulty(model: Model) -> dict[str, Any]:
    ((server,),) = await model.rows(
        """SELECT s.name FROM object_outcome o JOIN logical_server s ON s.id = o.logical_server_id
           WHERE o.outcome = 'quarantined'"""
    )
    return {"lserver": server, "kind": "zone", "key": "shop.test"}


async def ahead(model: Model) -> None:
    await model.write(
        """UPDATE lane SET condition = 'ahead' FROM logical_server s
           WHERE s.id = lane.logical_server_id AND s.name = %s""",
        (WEB1,),
    )


ZONE_FILE = "$TTL 600\n@ IN MX 10 mail.shop.test.\nmail IN A 192.0.2.77\n"

STORY = (
    tried("pserver.add", name="web2", ip="198.51.100.40", mask="24", groups=("web",)),
    tried("pserver.edit", name="web2", description="spare"),
    tried("pserver.enroll", name="web2"),
    tried("pserver.intent", name="web2", intent="no-signup"),
    tried("pserver.monitoring", name="web2", monitoring=False),
    Tried("pserver.service", {"name": "ns1", "service": "cron", "action": "stop"}, action_answered),
    tried("lserver.add", name=WEB2, group="web", type="apache", pserver="web1"),
    tried("lserver.edit", name=WEB2, description="for shops"),
    tried("ip.add", lserver=WEB2, first="192.0.2.60", mask="24", type="shared"),
    tried("ip.edit", ip="192.0.2.60", tag=7),
    tried("lserver.set", name=WEB2, settings={"timeout": 30}),
    Tried("lserver.signup", {"name": WEB2, "signup": True}, connected),
    tried("lserver.signup", name=WEB2, signup=False),
    tried("lserver.rename", name=WEB2, to="web3.example.net"),
    tried("ip.delete", ip="192.0.2.60"),
    tried("lserver.move", name="web3.example.net", to="web2"),
    tried("lserver.delete", name="web3.example.net"),
    tried("dns.roles", master=NS1, slave1=NS2),
    tried("placement.set", group="web", policy="least-used"),
    tried("account.add", name="acme"),
    tried("account.add", name="passing"),
    tried("account.delete", name="passing"),
    tried("domain.add", name="shop.test", account="acme"),
    tried("domain.add", name="gone.test", account="acme"),
    tried("domain.import", name="shop.test", text=ZONE_FILE),
    tried("record.add", domain="shop.test", name="a", type="A", values=("192.0.2.70",)),
    tried("record.set", domain="shop.test", name="a", type="A", values=("192.0.2.71",)),
    tried("record.delete", domain="shop.test", name="a"),
    tried("site.set", name="shop.test", indexes=True),
    Tried("change.undo", newest_change),
    tried("ip.add", lserver=WEB1, first="192.0.2.90", mask="24", type="dedicated"),
    tried("site.address", name="shop.test", type="dedicated"),
    Tried("fault.retry", faulty, fault),
    Tried("drift.verify", {"name": NS1}, verified),
    tried("drift.repair", name=NS1),
    Tried("lserver.recover", {"name": WEB1, "mode": "adopt"}, ahead),
    Tried("operator.disable", {"name": "eve"}, operators),
    Tried("token.revoke", newest_token),
    Tried("model.import", exported),
    tried("domain.delete", name="gone.test"),
    tried("ssl.upload", domain=SHARED, certificate=PAIR.chain, key=PAIR.key),
    tried("ssl.delete", domain=SHARED),
    tried("service.set", third_level=True),
    tried("domain.add", name="below.example.net", account="acme"),
    tried("domain.delete", name="below.example.net"),
    tried("service.host", account="acme", on=WEB1),
    tried("service.unhost"),
    tried("rollout.begin", type="apache", settings={"timeout": 45}),
    Tried("rollout.resume", newest_rollout, rollout_paused),
    Tried("rollout.stop", newest_rollout),
    Tried("dns.roles", {"master": NS2, "slave1": NS1}, served),
    tried("dns.apply"),
    Tried("dns.stop", newest_zone_move),
    Tried("change.withdraw", held_back, another_name_server),
    Tried("change.approve", held_back_and_accepted),
    Tried("dns.stop", newest_zone_move),
    Tried("ip.move", {"ip": "192.0.2.3", "new": "192.0.2.33"}, served),
    Tried("ip.stop", newest_address_move),
    tried("pserver.retire", name="web2", box_is_gone=True),
    tried("pserver.delete", name="web2"),
)
