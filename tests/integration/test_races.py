"""Two commands at once end as if one had come after the other; nobody is told of an accident."""

from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from controller.refusal import CommandError
from controller.storage.database import Transaction
from tests.integration.model import Model

Asked = tuple[str, dict[str, Any]]
WEB1 = "web1.example.net"
ONE = {"name": "one.test"}


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
