"""The API on the product's own registry, runner, database and sealer."""

import http.client
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from controller.fleet.events import publish
from controller.principal import system
from controller.storage import people
from controller.storage.database import Transaction
from controller.storage.sealer import Sealer
from controller.web.event_stream import DatabaseFeed, EventStream
from tests.integration.model import Model
from tests.web_site import Reply, Site, running_site


@attrs.frozen
class Served:
    model: Model
    site: Site
    token: str

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Reply:
        return await self.site.ask(method, f"/api/v1{path}", body, token=self.token, **more)


async def as_host(model: Model, function: Any) -> Any:
    return await model.database.transaction(system("test"), function, name="test")


@pytest_twisted.async_yield_fixture
async def served(model: Model, tmp_path: Path) -> AsyncIterator[Served]:
    async def prepare(tx: Transaction) -> str:
        await people.create_operator(tx, "ann", None)
        return await people.create_token(tx, "ann", "test")

    token = await as_host(model, prepare)

    async def token_operator(text: str) -> str | None:
        return await as_host(model, lambda tx: people.operator_of_token(tx, text))

    sealer = Sealer(model.database, reactor)
    async with running_site(
        tmp_path / "site",
        registry=model.registry,
        runner=model.runner,
        token_operator=token_operator,
        stream=lambda bus: EventStream(bus, DatabaseFeed(model.database)),
    ) as site:
        await site.bus.start(model.database)
        await sealer.start()
        yield Served(model, site, token)
        await sealer.stop()


@ensureDeferred
async def test_a_revoked_token_and_a_disabled_operator_are_nobody(served: Served) -> None:
    assert (await served.ask("GET", "/status")).status == 200
    entry = (await as_host(served.model, lambda tx: people.list_tokens(tx, "ann")))[0]
    await as_host(served.model, lambda tx: people.revoke_token(tx, "ann", entry.id))
    assert (await served.ask("GET", "/status")).status == 401
    fresh = await as_host(served.model, lambda tx: people.create_token(tx, "ann", "other"))
    served = attrs.evolve(served, token=fresh)
    assert (await served.ask("GET", "/status")).status == 200
    await as_host(served.model, lambda tx: people.disable_operator(tx, "ann"))
    assert (await served.ask("GET", "/status")).status == 401


NOT_THERE = {
    "pserver.packages": "pserver.silent",
    "pserver.services": "pserver.silent",
    "pserver.log": "pserver.silent",
    "pserver.why": "why.not-ours",
    "drift.show": "pserver.silent",
    "drift.preview": "pserver.silent",
    "dns.progress": "dns.move.unknown",
    "ip.progress": "ip.move.unknown",
    "ssl.show": "ssl.unknown",
    "change.show-held": "change.held.unknown",
    "rollout.show": "rollout.unknown",
}
"""Reads of what this model has none of: what boxes say, moves, what is held or shared."""
QUERIES = {
    "placement.simulate": "?count=10",
    "drift.show": "?path=named.conf",
    "object.history": "?key=shop.test",
    "pserver.why": "?file=named.conf&line=1",
}
"""What reads must be given beside the path."""


@ensureDeferred
async def test_every_read_answers_and_holds_no_secret(served: Served) -> None:
    await served.model.shop()
    invited = await served.ask(
        "POST", "/pservers", {"name": "web9", "ip": "198.51.100.9", "mask": "24", "groups": ["web"]}
    )
    planted = invited.json["result"]["token"].split(".")[2]
    names = {"domain": "shop.test", "id": "1", "ip": "192.0.2.1", "group": "web", "kind": "zone"}
    for command in served.model.registry:
        if command.writes:
            continue
        path = command.path
        subject = path.split("/")[1]
        here = {
            "pservers": "ns1",
            "lservers": "ns1.example.net",
            "accounts": "acme",
            "domains": "shop.test",
        }
        for field, value in {**names, "name": here.get(subject, "")}.items():
            path = path.replace("{" + field + "}", value)
        reply = await served.ask("GET", path + QUERIES.get(command.name, ""))
        if command.name in NOT_THERE:
            assert reply.json["id"] == NOT_THERE[command.name], reply.body
        else:
            assert reply.status == 200, (command.name, reply.body)
        assert planted.encode() not in reply.body, command.name
        assert served.token.encode() not in reply.body


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/domains", {"name": "test..com", "account": "acme"}, "name"),
        ("/domains", {"name": "a" * 64 + ".test", "account": "acme"}, "name"),
        ("/domains", {"name": "-x.test", "account": "acme"}, "name"),
        ("/domains", {"name": "x.test\r\nevil", "account": "acme"}, "name"),
        ("/domains", {"name": "new.test", "account": "nosuch"}, "account"),
        ("/domains/shop.test/records", {"name": "bad name", "type": "A", "values": ["x"]}, None),
        (
            "/domains/shop.test/records",
            {"name": "w", "type": "A", "values": ["192.0.2.1"], "ttl": -1},
            "ttl",
        ),
        ("/domains/shop.test/records", {"name": "w", "type": "CNAME", "values": ["$(x)"]}, None),
        ("/domains/shop.test/records", {"name": "@", "type": "CNAME", "values": ["a.b."]}, None),
        (
            "/lservers",
            {"name": "n.example.net", "group": "dns", "type": "bind", "pserver": "x"},
            "pserver",
        ),
    ],
)
@ensureDeferred
async def test_a_bad_value_is_a_problem_and_writes_nothing(
    served: Served, path: str, body: dict[str, Any], field: str | None
) -> None:
    await served.model.shop()
    before = await served.model.footprint()
    reply = await served.ask("POST", path, body)
    assert reply.status in (404, 409, 422)
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json["id"]
    assert field is None or reply.json["field"] == field
    assert await served.model.footprint() == before


@ensureDeferred
async def test_one_key_makes_one_change_however_often_and_at_once(served: Served) -> None:
    def add() -> "Deferred[Reply]":
        return Deferred.fromCoroutine(
            served.ask("POST", "/accounts", {"name": "acme"}, headers={"Idempotency-Key": "k"})
        )

    replies = await gatherResults([add() for _ in range(5)])
    assert {reply.status for reply in replies} == {200}
    assert len({reply.json["change"] for reply in replies}) == 1
    other = await served.ask(
        "POST", "/accounts", {"name": "other"}, headers={"Idempotency-Key": "k"}
    )
    assert other.status == 409


@ensureDeferred
async def test_a_dry_run_tells_the_plan_and_writes_nothing(served: Served) -> None:
    await served.model.cluster()
    await served.model.ask("account.add", name="acme")
    before = await served.model.footprint()
    reply = await served.ask(
        "POST", "/domains?dry_run=true", {"name": "shop.test", "account": "acme"}
    )
    assert (reply.status, reply.json["change"]) == (200, None)
    assert {planned["kind"] for planned in reply.json["plan"]["objects"]} >= {"zone", "site"}
    assert reply.json["plan"]["drawn"]["master name server"]
    said = reply.json["plan"]["words"]
    assert said[0].startswith("touches ns")
    assert "domain shop.test" in said[1]
    assert said[2] == "nothing reloads"
    assert await served.model.footprint() == before


@ensureDeferred
async def test_a_held_change_is_a_problem_that_names_its_hazards(served: Served) -> None:
    await served.model.cluster()
    await served.model.approved("ip.delete", ip="192.0.2.2")
    before = await served.model.footprint()
    refused = await served.ask("DELETE", "/ips/192.0.2.1")
    assert (refused.status, refused.json["id"]) == (409, "change.held")
    assert [(each["id"], each["number"]) for each in refused.json["hazards"]] == [
        ("last-name-server", 1)
    ]
    assert await served.model.footprint() == before
    place = f"/held-changes/{refused.json['held']}"
    assert (await served.ask("GET", place)).json["asked_by"] == "operator:ann"
    wrong = await served.ask("POST", f"{place}/approval", {"accept": {"last-name-server": 2}})
    assert (wrong.status, wrong.json["field"]) == (409, "accept")
    words = await served.ask("POST", f"{place}/approval", {"accept": {"last-name-server": True}})
    assert words.status == 422
    assert await served.model.footprint() == before
    done = await served.ask("POST", f"{place}/approval", {"accept": {"last-name-server": 1}})
    assert (done.status, done.json["result"]["ip"]) == (200, "192.0.2.1")
    assert (await served.ask("DELETE", place)).json["id"] == "change.held.ended"


def read_events(site: Site, token: str, last: str, count: int) -> list[tuple[str, str]]:
    """Follow the stream until ``count`` events ``change`` came; gives their ids and data."""
    connection = http.client.HTTPSConnection(
        "127.0.0.1", site.port, context=site.context(), timeout=30
    )
    try:
        headers = {"Authorization": f"Bearer {token}", "Last-Event-ID": last}
        connection.request("GET", "/api/v1/events", headers=headers)
        answer = connection.getresponse()
        assert answer.getheader("Content-Type") == "text/event-stream"
        found = []
        event: dict[str, str] = {}
        while len(found) < count:
            line = answer.readline().decode().rstrip("\n")
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
                continue
            if event.get("event") == "change":
                found.append((event["id"], event["data"]))
            event = {}
        return found
    finally:
        connection.close()


@ensureDeferred
async def test_events_come_as_they_happen_and_are_resumed_without_a_gap(served: Served) -> None:
    following = deferToThread(read_events, served.site, served.token, "0", 2)
    for name in ("one", "two"):
        assert (await served.ask("POST", "/accounts", {"name": name})).status == 200
    seen = await following
    assert [number for number, _ in seen] == ["1", "2"]
    assert '"command":"account.add"' in seen[0][1]
    for name in ("three", "four"):
        await served.ask("POST", "/accounts", {"name": name})
    rest = await deferToThread(read_events, served.site, served.token, "2", 2)
    assert [number for number, _ in rest] == ["3", "4"]


@ensureDeferred
async def test_a_waiting_request_hears_when_its_change_moved(served: Served) -> None:
    await served.model.cluster()
    ((change,),) = await served.model.rows(
        "SELECT max(change_id) FROM change_object o JOIN logical_server s"
        " ON s.id = o.logical_server_id WHERE s.name = 'web1.example.net'"
    )
    first = await served.ask("GET", f"/changes/{change}")
    assert first.json["state"] == "pending"
    seen = first.json["seen"]
    waiting = Deferred.fromCoroutine(served.ask("GET", f"/changes/{change}?wait=50&seen={seen}"))
    await served.model.write("UPDATE lane SET settled_revision = 1000000")
    await as_host(served.model, lambda tx: publish(tx, [{"change": change}]))
    reply = await waiting
    assert reply.json["seen"] != seen
    assert {lane["state"] for lane in reply.json["lanes"] if lane["box"] == "web1"} == {"live"}
