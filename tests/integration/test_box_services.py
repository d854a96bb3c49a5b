"""What is asked of boxes on demand: packages, services, logs (R251), and how boxes refuse."""

from typing import Any

import pytest
from pytest_twisted import ensureDeferred

from controller.fleet.questions import BoxAwayError, NoAnswerError
from controller.refusal import CommandError
from node_agent.wire.questions import (
    ActionDone,
    AskAction,
    AskLog,
    AskPackages,
    Declined,
    LogLines,
    Package,
    Packages,
    ServiceFacts,
    Services,
)
from tests.integration.model import Model

NAMED = ServiceFacts(
    name="ns1.example.net",
    kind="lane",
    state="running",
    boots="enabled",
    detail="bind",
    actions=("restart", "stop"),
)
CRON = ServiceFacts(
    name="cron", kind="system", state="stopped", boots="disabled", actions=("start", "enable")
)


async def box(model: Model) -> str:
    await model.box("ns1", 1, ("dns",))
    return str((await model.ask("pserver.show", name="ns1"))["id"])


@ensureDeferred
async def test_r251_installed_packages_are_listed_page_by_page(model: Model) -> None:
    await box(model)
    first = tuple(Package(name, "1.0") for name in ("bind9", "bind9-host"))
    model.fleet.answers = [
        Packages(packages=first, more=True),
        Packages(packages=(Package("bind9-utils", "1.0"),), more=False),
    ]
    page = await model.ask("pserver.packages", name="ns1", search="bind", limit=2)
    assert page["items"] == [
        {"name": "bind9", "version": "1.0"},
        {"name": "bind9-host", "version": "1.0"},
    ]
    rest = await model.ask(
        "pserver.packages", name="ns1", search="bind", limit=2, cursor=page["next"]
    )
    assert (rest["items"], rest["next"]) == ([{"name": "bind9-utils", "version": "1.0"}], None)
    assert model.fleet.questions == [
        AskPackages(search="bind", after="", limit=2),
        AskPackages(search="bind", after="bind9-host\t1.0", limit=2),
    ]


@ensureDeferred
async def test_r251_services_of_logical_servers_come_before_those_of_the_system(
    model: Model,
) -> None:
    await box(model)
    model.fleet.answers = [Services(services=(CRON, NAMED))] * 2
    answer = await model.ask("pserver.services", name="ns1")
    assert [one["name"] for one in answer["items"]] == ["ns1.example.net", "cron"]
    assert answer["items"][0]["actions"] == ["stop", "restart"]
    page = await model.ask("pserver.services", name="ns1", limit=1)
    model.fleet.answers = [Services(services=(CRON, NAMED))]
    rest = await model.ask("pserver.services", name="ns1", limit=1, cursor=page["next"])
    assert ([one["name"] for one in rest["items"]], rest["next"]) == (["cron"], None)


@ensureDeferred
async def test_r251_a_service_action_is_a_change_and_so_is_its_answer(model: Model) -> None:
    await box(model)
    model.fleet.answers = [ActionDone(service=CRON)]
    done = await model.run("pserver.service", name="ns1", service="cron", action="stop")
    assert done.result["outcome"] == "done"
    assert done.result["state"]["state"] == "stopped"
    assert model.fleet.questions == [AskAction(service="cron", action="stop")]
    changes = (await model.ask("change.list"))["items"][:2]
    assert [(one["command"], one["actor"]) for one in changes] == [
        ("pserver.service-answer", "system:fleet"),
        ("pserver.service", "operator:ada"),
    ]
    assert changes[0]["request"]["outcome"] == "done"
    assert changes[1]["request"] == {"name": "ns1", "service": "cron", "action": "stop"}


@pytest.mark.parametrize(
    ("answer", "outcome", "words"),
    [
        (Declined(reason="not-granted", words="not named here"), "refused", "not named here"),
        (Declined(reason="failed", words="one line\nand another"), "refused", "line; and another"),
        (NoAnswerError("the box did not answer within 60 seconds"), "unknown", "did not answer"),
        (BoxAwayError("the connection ended"), "unknown", "not connected"),
        (Services(services=()), "unknown", "something else"),
    ],
)
@ensureDeferred
async def test_r251_what_a_box_refuses_is_told_and_never_shown_as_done(
    model: Model, answer: Any, outcome: str, words: str
) -> None:
    await box(model)
    model.fleet.answers = [answer]
    done = await model.run("pserver.service", name="ns1", service="cron", action="stop")
    assert done.result["outcome"] == outcome
    assert words in done.result["message"]
    noted = (await model.ask("change.list"))["items"][0]
    assert (noted["command"], noted["request"]["outcome"]) == ("pserver.service-answer", outcome)


@ensureDeferred
async def test_a_dry_run_asks_no_box(model: Model) -> None:
    await box(model)
    before = await model.footprint()
    done = await model.run(
        "pserver.service", name="ns1", service="cron", action="stop", dry_run=True
    )
    assert (done.result["outcome"], model.fleet.questions) == ("unknown", [])
    assert await model.footprint() == before


@ensureDeferred
async def test_an_action_sent_twice_is_done_once(model: Model) -> None:
    await box(model)
    model.fleet.answers = [ActionDone(service=CRON)]
    for outcome in ("done", "unknown"):
        done = await model.run(
            "pserver.service", name="ns1", service="cron", action="stop", idempotency_key="k" * 20
        )
        assert done.result["outcome"] == outcome
    assert len(model.fleet.questions) == 1


@ensureDeferred
async def test_r251_a_log_is_bounded_and_cannot_steer_a_terminal(model: Model) -> None:
    await box(model)
    model.fleet.answers = [LogLines(lines=("old", "\x1b[2Jnew\ttab", "x" * 5000), cut=False)]
    answer = await model.ask("pserver.log", name="ns1", service="cron", lines=2)
    assert model.fleet.questions == [AskLog(service="cron", lines=2)]
    assert len(answer["lines"]) == 2
    assert "\x1b" not in answer["lines"][0]
    assert len(answer["lines"][1]) < 2100


REFUSED = [
    ("pserver.packages", {}, "pserver.away"),
    ("pserver.services", {}, "pserver.away"),
    ("pserver.service", {"service": "cron", "action": "stop"}, "pserver.away"),
    ("pserver.log", {"service": "cron"}, "pserver.away"),
]


@pytest.mark.parametrize(("command", "fields", "id"), REFUSED)
@ensureDeferred
async def test_a_box_that_is_away_is_refused_with_the_way_out(
    model: Model, command: str, fields: dict[str, Any], id: str
) -> None:
    model.fleet.away.add(await box(model))
    refusal = await model.refused(command, name="ns1", **fields)
    assert (refusal.id, refusal.status) == (id, 409)
    assert "hsctl pserver enroll ns1" in refusal.allowed
    await model.write("UPDATE box SET first_seen_at = now()")
    refusal = await model.refused(command, name="ns1", **fields)
    assert "hs-agent" in refusal.allowed
    assert model.fleet.questions == []


@pytest.mark.parametrize(("command", "fields", "id"), REFUSED)
@ensureDeferred
async def test_r251_nothing_is_asked_of_a_box_whose_monitoring_is_off(
    model: Model, command: str, fields: dict[str, Any], id: str
) -> None:
    await box(model)
    await model.write("UPDATE box SET monitoring = false")
    refusal = await model.refused(command, name="ns1", **fields)
    assert (refusal.id, model.fleet.questions) == ("pserver.monitoring.off", [])
    assert refusal.allowed == "hsctl pserver monitoring ns1 on"


@ensureDeferred
async def test_a_silent_box_is_told_from_one_that_declines(model: Model) -> None:
    await box(model)
    model.fleet.answers = [
        NoAnswerError("the box did not answer within 15 seconds"),
        Declined(reason="failed", words="no package manager"),
    ]
    refusal = await model.refused("pserver.packages", name="ns1")
    assert (refusal.id, refusal.status) == ("pserver.silent", 503)
    refusal = await model.refused("pserver.packages", name="ns1")
    assert (refusal.id, refusal.message) == ("pserver.declined", "no package manager")


@pytest.mark.parametrize(
    ("command", "fields", "id"),
    [
        ("pserver.service", {"service": "cron", "action": "kill"}, "pserver.service.action"),
        ("pserver.service", {"service": "a\nb", "action": "stop"}, "pserver.text"),
        ("pserver.service", {"service": "x" * 301, "action": "stop"}, "pserver.text"),
        ("pserver.log", {"service": "cron", "lines": 0}, "pserver.log.lines"),
        ("pserver.log", {"service": "cron", "lines": 1001}, "pserver.log.lines"),
        ("pserver.packages", {"search": "\0"}, "text.nul"),
        ("pserver.load", {"span": "year"}, "pserver.load.span"),
    ],
)
@ensureDeferred
async def test_what_cannot_be_asked_is_refused_before_any_box_hears_of_it(
    model: Model, command: str, fields: dict[str, Any], id: str
) -> None:
    await box(model)
    assert (await model.refused(command, name="ns1", **fields)).id == id
    assert model.fleet.questions == []


@ensureDeferred
async def test_an_unknown_box_is_refused(model: Model) -> None:
    for command in ("pserver.packages", "pserver.services", "pserver.load"):
        with pytest.raises(CommandError) as caught:
            await model.ask(command, name="nobody")
        assert caught.value.id == "pserver.unknown"
