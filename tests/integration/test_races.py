"""Two commands at once end as if one had come after the other; nobody is told of an accident."""

from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from controller.cluster.rules.guard import watch
from controller.refusal import CommandError
from controller.storage.database import Transaction
from tests.integration.hosted import name_servers
from tests.integration.model import OPERATOR, Model

Asked = tuple[str, dict[str, Any]]
WEB1, NS3 = "web1.example.net", "ns3.example.net"
IDLE = {"name": "idle.example.net"}
ONE = {"name": "one.test"}
BARE = {"name": "bare"}
LAST = "203.0.113.62"


async def outcome(model: Model, asked: Asked) -> str:
    """Give the id of a refusal, or nothing."""
    try:
        await model.run(asked[0], **asked[1])
    except CommandError as error:
        return error.id
    return ""


async def waits(model: Model) -> bool:
    """Tell whether a transaction waits for another one."""
    return bool(await model.rows("SELECT 1 FROM pg_locks WHERE NOT granted"))


async def overtaken(
    model: Model, patch: pytest.MonkeyPatch, at: int, slow: Asked, quick: Asked
) -> tuple[str, str]:
    """Stop a command before its statement ``at`` until another has ended, or must wait for it."""
    ask = Transaction._ask
    stopped: Deferred[None] = Deferred()
    go: Deferred[None] = Deferred()
    counted: dict[int, int] = {}

    async def stopping(self: Transaction, *given: Any) -> Any:
        if not counted or id(self) in counted:
            counted[id(self)] = counted.get(id(self), 0) + 1
            if counted[id(self)] == at and not stopped.called:
                held.append(self)  # so that no other one gets its id
                stopped.callback(None)
                await go
        return await ask(self, *given)

    held: list[Transaction] = []
    patch.setattr(Transaction, "_ask", stopping)
    first = Deferred.fromCoroutine(outcome(model, slow))
    first.addBoth(lambda told: (stopped.called or stopped.callback(None), told)[1])
    await stopped
    second = Deferred.fromCoroutine(outcome(model, quick))
    while not second.called and not await waits(model):
        await deferLater(reactor, 0.002)
    if not go.called:
        go.callback(None)
    told = await first, await second
    patch.setattr(Transaction, "_ask", ask)
    return told


GONE: dict[str, tuple[Asked, Asked, set[tuple[str, str]]]] = {
    "an account that goes twice": (
        ("account.delete", {"name": "idle"}),
        ("account.delete", {"name": "idle"}),
        {("", "account.unknown")},
    ),
    "an account that gets a domain": (
        ("account.delete", {"name": "idle"}),
        ("domain.add", {"name": "two.test", "account": "idle"}),
        {("", "account.unknown"), ("account.in-use", "")},
    ),
    "an account that gets the provider's site": (
        ("account.delete", {"name": "idle"}),
        ("service.host", {"account": "idle"}),
        {("", "account.unknown"), ("account.in-use", "")},
    ),
    "an address that goes twice": (
        ("ip.delete", {"ip": "203.0.113.1"}),
        ("ip.delete", {"ip": "203.0.113.1"}),
        {("", "ip.unknown")},
    ),
    "a server that goes twice": (
        ("lserver.delete", IDLE),
        ("lserver.delete", IDLE),
        {("", "lserver.unknown")},
    ),
    "a server that gets an address": (
        ("lserver.delete", IDLE),
        (
            "ip.add",
            {"lserver": IDLE["name"], "first": "203.0.113.60", "mask": "24", "type": "shared"},
        ),
        {("", "lserver.unknown"), ("lserver.in-use", "")},
    ),
    "a server that moves": (
        ("lserver.delete", IDLE),
        ("lserver.move", {**IDLE, "to": "web1"}),
        {("", "lserver.unknown"), ("", "")},
    ),
    "a server that is described": (
        ("lserver.delete", IDLE),
        ("lserver.edit", {**IDLE, "description": "the second"}),
        {("", "lserver.unknown"), ("", "")},
    ),
    "a server that is set": (
        ("lserver.delete", IDLE),
        ("lserver.set", {**IDLE, "settings": {"timeout": 30}}),
        {("", "lserver.unknown"), ("", "")},
    ),
    "a site that is set": (
        ("domain.delete", ONE),
        ("site.set", {**ONE, "indexes": True}),
        {("", "domain.unknown"), ("", "")},
    ),
    "a box that is edited": (
        ("pserver.delete", {"name": "bare"}),
        ("pserver.edit", {"name": "bare", "description": "rack 1"}),
        {("", "pserver.unknown"), ("", "")},
    ),
    "a box that goes twice": (
        ("pserver.delete", BARE),
        ("pserver.delete", BARE),
        {("", "pserver.unknown")},
    ),
    "a box that gets a server": (
        ("pserver.delete", BARE),
        ("lserver.add", {"name": NS3, "group": "web", "type": "apache", "pserver": "bare"}),
        {("", "pserver.unknown"), ("pserver.in-use", "")},
    ),
    "a box that is retired": (
        ("pserver.delete", BARE),
        ("pserver.retire", {**BARE, "box_is_gone": True}),
        {("", "pserver.unknown"), ("", "")},
    ),
    **{
        f"{deleting} and {command}": (
            (deleting, named),
            (command, {field: named["name"], **fields}),
            {("", f"{deleting.partition('.')[0]}.unknown"), ("", "")},
        )
        for deleting, named, field, commands in (
            (
                "pserver.delete",
                BARE,
                "name",
                {
                    "pserver.enroll": {},
                    "pserver.enrolment": {},
                    "pserver.intent": {"intent": "no-signup"},
                    "pserver.load": {},
                    "pserver.monitoring": {"monitoring": False},
                    "pserver.show": {},
                    "pserver.sysinfo": {},
                },
            ),
            (
                "lserver.delete",
                IDLE,
                "name",
                {
                    "lserver.records": {},
                    "lserver.show": {},
                    "lserver.signup": {"signup": False},
                },
            ),
            (
                "lserver.delete",
                IDLE,
                "lserver",
                {"drift.list": {}, "fault.list": {}, "ip.list": {}},
            ),
            ("account.delete", {"name": "idle"}, "name", {"account.show": {}}),
            ("account.delete", {"name": "idle"}, "account", {"domain.list": {}}),
            (
                "domain.delete",
                ONE,
                "name",
                {
                    "domain.delete": {},
                    "domain.export": {},
                    "domain.import": {"text": "b 60 IN A 192.0.2.9\n"},
                    "domain.show": {},
                    "site.address": {"type": "dedicated"},
                    "site.show": {},
                },
            ),
            (
                "domain.delete",
                ONE,
                "domain",
                {
                    "record.add": {"name": "b", "type": "A", "values": ("192.0.2.9",)},
                    "record.delete": {"name": "www", "type": "A"},
                    "record.list": {},
                    "record.set": {"name": "b", "type": "A", "values": ("192.0.2.9",)},
                },
            ),
        )
        for command, fields in commands.items()
    },
}
"""What is deleted while another command has read it, and how the two may end."""


@pytest.mark.parametrize("at", range(2, 5))
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("case", GONE)
@pytest_twisted.ensureDeferred
async def test_what_goes_while_it_is_worked_on_is_refused_as_unknown_or_in_use(
    small: Model, monkeypatch: pytest.MonkeyPatch, case: str, reverse: bool, at: int
) -> None:
    await small.box("bare", 10, ("web",))
    deleting, other, ends = GONE[case]
    slow, quick = (other, deleting) if reverse else (deleting, other)
    told = await overtaken(small, monkeypatch, at, slow, quick)
    first, second = sorted(told) if deleting == other else reversed(told) if reverse else told
    assert (first, second) in ends


@pytest.mark.parametrize("at", [6, 9, 11])
@pytest.mark.parametrize(
    ("command", "fields"), [("ip.delete", {}), ("ip.edit", {"new_port": 8081})]
)
@pytest.mark.parametrize("reverse", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_site_never_has_a_dedicated_address_whose_port_has_no_shared_one(
    small: Model,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    fields: dict[str, Any],
    reverse: bool,
    at: int,
) -> None:
    web = {"lserver": WEB1, "mask": "24", "port": 8080}
    await small.ask("ip.add", first=LAST, type="shared", tag=1, **web)
    await small.ask("ip.add", first="203.0.113.90", type="dedicated", **web)
    pair = (command, {"ip": LAST, **fields}), ("site.address", {**ONE, "type": "dedicated"})
    await overtaken(small, monkeypatch, at, *(reversed(pair) if reverse else pair))
    assert not await small.rows(
        """SELECT d.address, d.port FROM ip_address d WHERE d.site_id IS NOT NULL AND NOT EXISTS (
               SELECT FROM ip_address s WHERE s.logical_server_id = d.logical_server_id
               AND s.type = 'shared' AND s.port = d.port)"""
    )


@pytest.mark.parametrize("at", [2, 3, 6])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("command", "fields"),
    [
        ("lserver.set", {"name": WEB1, "settings": {"timeout": 30}}),
        (
            "ip.add",
            {"lserver": WEB1, "first": LAST, "mask": "24", "type": "shared", "tag": 7},
        ),
        ("lserver.rename", {"name": WEB1, "to": "other.example.net"}),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_server_that_is_renamed_meanwhile_is_told_of_its_new_name(
    small: Model,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    fields: dict[str, Any],
    reverse: bool,
    at: int,
) -> None:
    pair = ("lserver.rename", {"name": WEB1, "to": "new.example.net"}), (command, fields)
    slow, quick = reversed(pair) if reverse else pair
    await overtaken(small, monkeypatch, at, slow, quick)
    ((name,),) = await small.rows(
        "SELECT name FROM logical_server WHERE group_name = 'web' AND name <> %s", (IDLE["name"],)
    )
    assert (await small.objects(name))["server", ""]["name"] == name
    named = await small.rows(
        """SELECT DISTINCT r.name FROM record r JOIN zone z ON z.id = r.zone_id
           WHERE z.name = 'example.net' AND r.type = 'A' AND r.data = '192.0.2.3'"""
    )
    assert named == [(name.removesuffix(".example.net"),)]


@pytest_twisted.ensureDeferred
async def test_a_server_that_moves_while_its_box_is_waited_for_is_judged_where_it_is(
    small: Model,
) -> None:
    ((server, to),) = await small.rows(
        "SELECT s.id::text, b.id::text FROM logical_server s, box b"
        " WHERE s.name = %s AND b.name = 'web1'",
        (IDLE["name"],),
    )
    moved: Deferred[None] = Deferred()
    go: Deferred[None] = Deferred()
    tried = []

    async def move(tx: Transaction) -> None:
        await watch(tx, servers=[server], boxes=[to])
        await tx.run("UPDATE lane SET box_id = %s WHERE logical_server_id = %s", (to, server))
        moved.callback(None)
        await go

    async def judge(tx: Transaction) -> list[str]:
        tried.append(tx)
        return [box.name for box in (await watch(tx, servers=[server])).before.boxes]

    def run(work: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(small.database.transaction(OPERATOR, work, name="test"))

    moving = run(move)
    await moved
    judging = run(judge)
    while not await waits(small):
        await deferLater(reactor, 0.002)
    go.callback(None)
    await moving
    assert (await judging, len(tried)) == (["web1"], 2)


@pytest.mark.parametrize("at", [2, 12, 14, 15])
@pytest.mark.parametrize("reverse", [False, True])
@pytest_twisted.ensureDeferred
async def test_no_address_is_added_at_a_port_that_becomes_one_for_tls(
    small: Model, monkeypatch: pytest.MonkeyPatch, reverse: bool, at: int
) -> None:
    pair: tuple[Asked, Asked] = (
        ("lserver.set", {"name": WEB1, "settings": {"tls_port": 443}}),
        (
            "ip.add",
            {
                "lserver": IDLE["name"],
                "first": "192.0.2.3",
                "mask": "24",
                "type": "shared",
                "port": 443,
            },
        ),
    )
    slow, quick = reversed(pair) if reverse else pair
    assert sorted(await overtaken(small, monkeypatch, at, slow, quick)) == ["", "ip.endpoint.taken"]


@pytest.mark.parametrize("at", [6, 7, 10])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(
    ("command", "fields"),
    [
        ("domain.delete", {}),
        ("site.set", {"indexes": True}),
        ("site.address", {"type": "dedicated"}),
    ],
)
@pytest.mark.parametrize("www", ["domain.add", "domain.delete"])
@pytest_twisted.ensureDeferred
async def test_a_site_whose_www_comes_or_goes_meanwhile_is_served_as_it_is(
    small: Model,
    monkeypatch: pytest.MonkeyPatch,
    www: str,
    command: str,
    fields: dict[str, Any],
    reverse: bool,
    at: int,
) -> None:
    added = {"name": "www.one.test", "account": "acme"}
    asked = added
    if www == "domain.delete":
        await small.ask("domain.add", **added)
        asked = {"name": "www.one.test"}
    pair = (www, asked), (command, {**ONE, **fields})
    slow, quick = reversed(pair) if reverse else pair
    assert await overtaken(small, monkeypatch, at, slow, quick) == ("", "")
    site = (await small.objects(WEB1)).get(("site", "one.test"))
    if command == "domain.delete":
        assert site is None
    else:
        assert site is not None
        assert site["www"] == (www == "domain.delete")
        assert (site["settings"] is None) == (command == "site.address")


@pytest.mark.parametrize("at", [4, 6])
@pytest.mark.parametrize("reverse", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_zone_never_names_an_endpoint_that_its_name_server_has_no_more(
    small: Model, monkeypatch: pytest.MonkeyPatch, reverse: bool, at: int
) -> None:
    await name_servers(small, 3)
    await small.ask("dns.roles", master="ns2.example.net", slave1=NS3)
    pair: tuple[Asked, Asked] = (
        ("ip.edit", {"ip": "192.0.2.13", "new_port": 5353}),
        ("domain.add", {"name": "two.test", "account": "acme"}),
    )
    slow, quick = reversed(pair) if reverse else pair
    await overtaken(small, monkeypatch, at, slow, quick)
    ((port,),) = await small.rows("SELECT port FROM ip_address WHERE address = '192.0.2.13'")
    spec = (await small.objects("ns2.example.net"))["zone", "two.test"]
    assert [each["port"] for each in spec["secondaries"] if each["address"] == "192.0.2.13"] == [
        port
    ]
