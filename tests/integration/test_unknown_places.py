"""A command for what is not there is answered 404; a value that names nothing is refused as one."""

from typing import Any

import pytest
import pytest_twisted

from controller.commands import Command
from controller.refusal import CommandError
from tests.faults.story import STORY
from tests.integration.model import OPERATOR, Model

ABSENT = {"id": 10**6, "ip": "192.0.2.250"}
ELSE = {"placement.set": "group.invalid", "ssl.upload": "certificate.name"}
"""Commands whose place is one of a few words, or comes with the command itself."""


def absent(command: Command[Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Give a request for what is not there."""
    nothing = {name: ABSENT.get(name, "nosuch.test") for name in command.placed_by}
    return {**fields, **nothing}


@pytest_twisted.ensureDeferred
async def test_every_write_to_what_is_not_there_is_answered_404(model: Model) -> None:
    await model.shop()
    for step in STORY:
        command = model.registry[step.command]
        if not command.placed_by:
            continue
        fields = step.fields if isinstance(step.fields, dict) else {}
        with pytest.raises(CommandError) as refused:
            await model.run_as(OPERATOR, command.name, **absent(command, fields))
        error = refused.value
        if command.name in ELSE:
            assert (error.id, error.status) == (ELSE[command.name], 422)
        else:
            assert (error.status, error.field in command.placed_by) == (404, True), command.name


@pytest.mark.parametrize(
    ("command", "fields", "field"),
    [
        ("domain.add", {"name": "new.test", "account": "nobody"}, "account"),
        ("domain.add", {"name": "new.test", "account": "acme", "on": "no.example.net"}, "on"),
        (
            "lserver.add",
            {"name": "x.example.net", "group": "web", "type": "apache", "pserver": "nobody"},
            "pserver",
        ),
        ("lserver.move", {"name": "ns1.example.net", "to": "nobody"}, "to"),
        ("dns.roles", {"master": "no.example.net"}, "master"),
        (
            "ip.add",
            {"lserver": "no.example.net", "first": "192.0.2.9", "mask": "24", "type": "shared"},
            "lserver",
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_value_that_names_nothing_is_refused_as_a_value(
    model: Model, command: str, fields: dict[str, Any], field: str
) -> None:
    await model.shop()
    error = await model.refused(command, **fields)
    assert (error.field, error.status) == (field, 422)
    assert error.id.endswith(("unknown", "unfit")), error.id


@pytest.mark.parametrize(
    ("command", "fields", "id_"),
    [
        ("domain.add", {"name": "shop.test", "account": "acme"}, "domain.name.taken"),
        ("domain.add", {"name": "ns1.example.net", "account": "acme"}, "domain.reserved"),
        ("domain.add", {"name": "a.b.example.net", "account": "acme"}, "domain.service"),
        (
            "lserver.rename",
            {"name": "ns2.example.net", "to": "sub.example.net"},
            "lserver.name.hosted",
        ),
        (
            "lserver.set",
            {"name": "db1.example.net", "settings": {"phpmyadmin_server": "no.example.net"}},
            "lserver.settings.unknown-server",
        ),
        (
            "domain.add",
            {"name": "new.test", "account": "acme", "on": "ns1.example.net"},
            "domain.on.unfit",
        ),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_value_that_is_taken_or_unfit_is_refused_as_a_value(
    model: Model, command: str, fields: dict[str, Any], id_: str
) -> None:
    await model.shop()
    await model.ask("service.set", third_level=True)
    await model.ask("domain.add", name="sub.example.net", account="acme")
    await model.box("db1", 9, ("mysql",))
    await model.server("db1", "mysql", "mysql")
    error = await model.refused(command, **fields)
    assert (error.id, error.status) == (id_, 422)
