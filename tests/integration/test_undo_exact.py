"""An undo is exact: whatever a command did, the model is as before, and then as after again."""

import time
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.cluster.undo_table import DECISIONS
from controller.refusal import CommandError
from controller.registry import EnrolmentInfo, build_registry
from controller.storage.database import Database
from controller.storage.embedded import EmbeddedPostgres
from controller.storage.secrets import Secrets
from tests.conftest import fresh_database
from tests.integration.key_pairs import pair
from tests.integration.model import Model, NotedFleet, model_on
from tests.integration.small_cluster import fill, model_rows, refused, undo
from tests.strategies import undoable_commands

CASES: dict[str, tuple[dict[str, Any], ...]] = {
    "account.add": ({"name": "other"},),
    "account.delete": ({"name": "idle"},),
    "dns.roles": ({"master": "ns2.example.net", "slave1": "ns1.example.net"}, {}),
    "domain.add": ({"name": "two.test", "account": "acme"},),
    "domain.delete": ({"name": "one.test"},),
    "domain.import": (
        {"name": "one.test", "text": "a 60 IN MX 1 m\nb 60 IN A 192.0.2.9\n"},
        {"name": "one.test", "text": "www 60 IN A 192.0.2.9\n", "replace": True},
        {"name": "two.test", "text": "www 60 IN TXT x\n", "account": "acme"},
        {"name": "two.test", "text": "www 60 IN A 192.0.2.9\n", "account": "acme"},
    ),
    "ip.add": (
        {"first": "203.0.113.50", "mask": "24", "type": "shared", "tag": 9},
        {"first": "203.0.113.60", "last": "203.0.113.90", "mask": "24", "type": "dedicated"},
    ),
    "ip.delete": ({"ip": "203.0.113.1"}, {"ip": "203.0.113.2", "last": "203.0.113.30"}),
    "ip.edit": ({"ip": "203.0.113.1", "mask": "28"}, {"ip": "203.0.113.100", "new_port": 8080}),
    "lserver.add": ({"name": "new.example.net", "group": "web", "type": "apache"},),
    "lserver.edit": ({"name": "web1.example.net", "description": "the second"},),
    "lserver.move": ({"name": "idle.example.net", "to": "web1"},),
    "lserver.set": (
        {"settings": {"tls_port": 443, "timeout": 30}},
        {"settings": {"max_request_workers": 200}},
    ),
    "lserver.signup": ({"name": "web1.example.net", "signup": False},),
    "pserver.edit": ({"ip": "198.51.100.70", "mask": "25", "groups": ("web",)},),
    "pserver.intent": ({"intent": "maintenance"},),
    "pserver.monitoring": ({"monitoring": False},),
    "record.add": (
        {"name": "www", "values": ("192.0.2.9",)},
        {"name": "x", "values": ("192.0.2.9",)},
    ),
    "record.delete": ({"name": "www"},),
    "record.set": ({"name": "www", "values": ("192.0.2.9", "192.0.2.8"), "ttl": 60},),
    "service.set": ({"third_level": True}, {"instant_access": True}),
    "site.address": ({"type": "dedicated"},),
    "site.set": ({"index": ("a.html",), "indexes": True}, {"certificate": "a new one"}),
}
"""Each command that can be undone, with what is asked of it."""
GIVEN: dict[str, dict[str, Any]] = {
    "ip.add": {"lserver": "web1.example.net"},
    "lserver.add": {"pserver": "spare"},
    "lserver.set": {"name": "web1.example.net"},
    "pserver.edit": {"name": "spare"},
    "pserver.intent": {"name": "spare"},
    "pserver.monitoring": {"name": "spare"},
    "record.add": {"domain": "one.test", "type": "A"},
    "record.delete": {"domain": "one.test"},
    "record.set": {"domain": "one.test", "type": "A"},
    "site.address": {"name": "one.test"},
    "site.set": {"name": "one.test"},
}
FORWARD_ONLY = {"lserver.add": "undo.server-gone", "a new one": "undo.secret-gone"}
"""What an undo takes away for good: that undo cannot be undone, and is refused so."""


def test_every_command_has_a_decision_and_the_undoable_ones_a_case() -> None:
    registry = build_registry(
        EnrolmentInfo("controller.example.net", 8445, "00" * 32),
        time.time,
        fleet=NotedFleet(),
        secrets=Secrets({b"12345678": bytes(32)}, bytes(32)),
    )
    assert set(DECISIONS) == {command.name for command in registry if command.writes}
    undoable = {name for name, told in DECISIONS.items() if told.undoable}
    assert {*CASES, "change.undo"} == undoable
    for name, told in DECISIONS.items():
        assert (bool(told.words), bool(told.instead)) == (True, not told.undoable), name


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        pytest.param(command, fields, id=f"{command}-{number}")
        for command, cases in CASES.items()
        for number, fields in enumerate(cases, 1)
    ],
)
@pytest_twisted.ensureDeferred
async def test_each_undoable_command_is_undone_and_done_again(
    small: Model, command: str, fields: dict[str, Any]
) -> None:
    asked = {**GIVEN.get(command, {}), **fields}
    once = command
    if "certificate" in asked:
        once, (asked["certificate"], asked["key"]) = "a new one", pair("one.test")
    if command == "dns.roles" and not fields:
        await small.ask("dns.roles", master="ns1.example.net", slave1="ns2.example.net")
    if "confirm" not in asked and asked.get("last") == "203.0.113.30":
        asked["confirm"] = 29
    before = await model_rows(small)
    done = await small.run(command, **asked)
    after = await model_rows(small)
    assert after != before
    undone = await undo(small, done.change_id)
    assert await model_rows(small) == before
    if once in FORWARD_ONLY:
        assert (await refused(small, undone.change_id)).id == FORWARD_ONLY[once]
        return
    again = await undo(small, undone.change_id)
    assert await model_rows(small) == after
    await undo(small, again.change_id)
    assert await model_rows(small) == before


@given(asked=st.lists(undoable_commands, min_size=20, max_size=50), earlier=st.integers(0, 40))
@settings(max_examples=25)
@pytest_twisted.ensureDeferred
async def test_undo_right_after_a_command_leaves_the_model_as_before(
    postgres: EmbeddedPostgres,
    tmp_path_factory: pytest.TempPathFactory,
    asked: list[tuple[str, dict[str, Any]]],
    earlier: int,
) -> None:
    with fresh_database(postgres) as url:
        database = await Database.connect(url)
        try:
            model = model_on(database, url, tmp_path_factory.mktemp("undo"))
            await fill(model)
            for command, fields in asked:
                await done_and_undone(model, command, fields)
            changes = await model.rows("SELECT id FROM change ORDER BY id DESC")
            await is_undone(model, changes[earlier % len(changes)][0])
        finally:
            await database.close()


async def done_and_undone(model: Model, command: str, fields: dict[str, Any]) -> None:
    """Do what is not refused, undo it and do it again, and see each time what that came to."""
    before = await model_rows(model)
    try:
        done = await model.run(command, **fields)
    except CommandError:
        return
    if done.change_id is None:
        return
    after = await model_rows(model)
    try:
        undone = await undo(model, done.change_id)
    except CommandError as error:
        # A free dedicated address keeps its port when that of the sites moves on: once it is
        # deleted, the rule of today stands against it.
        if (command, error.id) != ("ip.delete", "ip.dedicated.port"):
            raise
        return
    assert await model_rows(model) == before, (command, fields)
    if command != "lserver.add":
        await undo(model, undone.change_id)
        assert await model_rows(model) == after, (command, fields)


async def is_undone(model: Model, change: int) -> int | None:
    """Undo a change, or see that its refusal left the model alone."""
    before = await model_rows(model)
    try:
        return (await undo(model, change)).change_id
    except CommandError as error:
        refusal = error
    assert refusal.allowed
    assert await model_rows(model) == before
    return None
