"""What ``hsctl health`` shows, and how it ends."""

import json
from typing import Any

from pytest_twisted import ensureDeferred

from tests.unit.controller.hsctl.conftest import Cli
from tests.web_site import Told

BROKEN = {
    "severity": "refuse",
    "rule": "ip.type.group",
    "sources": ["R330"],
    "kind": "ip",
    "name": "192.0.2.77",
    "words": "a server of the group dns cannot have a dedicated address\x1b[31m",
    "reason": "Web servers share addresses.",
    "repair": "hsctl ip delete 192.0.2.77 --port 53",
}
WARNED = {**BROKEN, "severity": "warn", "rule": "ip.service.missing", "words": "no service IP"}


def answers(cli: Cli, *items: dict[str, Any]) -> None:
    cli.runner.answer = lambda asked: Told({"items": list(items), "next": None, "counts": {}})


@ensureDeferred
async def test_each_finding_is_told_with_its_rule_its_reason_and_its_repair(cli: Cli) -> None:
    answers(cli, BROKEN, WARNED)
    ended = await cli.run("health")
    assert ended.code == 0
    words = "a server of the group dns cannot have a dedicated address\\x1b[31m"
    assert f"breach: {words}\n" in ended.out
    assert "warning: no service IP\n" in ended.out
    assert "    ip.type.group: Web servers share addresses.\n" in ended.out
    assert "    hsctl ip delete 192.0.2.77 --port 53\n" in ended.out
    assert ended.out.endswith("1 breach, 1 warning\n")
    assert "\x1b[31m" not in ended.out


@ensureDeferred
async def test_check_ends_with_1_where_there_is_a_finding(cli: Cli) -> None:
    answers(cli, WARNED)
    assert (await cli.run("health", "--check")).code == 1
    answers(cli)
    ended = await cli.run("health", "--check")
    assert ended.code == 0
    assert ended.out == "No findings: every rule of the cluster holds.\n"


@ensureDeferred
async def test_findings_are_asked_for_by_rule_severity_and_name(cli: Cli) -> None:
    answers(cli)
    await cli.run("health", "--rule", "ip.type.group", "--severity", "refuse", "--filter", "ns1")
    (asked,) = cli.runner.asked
    assert (asked.name, asked.request.rule) == ("health.list", "ip.type.group")
    assert (asked.request.severity, asked.request.filter) == ("refuse", "ns1")


@ensureDeferred
async def test_json_is_the_findings_and_check_still_counts(cli: Cli) -> None:
    answers(cli, BROKEN)
    ended = await cli.run("health", "-o", "json", "--check")
    assert ended.code == 1
    assert json.loads(ended.out) == [BROKEN]
