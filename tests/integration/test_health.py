"""Every rule of the cluster: a model breaks it, the finding's repair is run, the finding is gone."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs
import pytest
from pytest_twisted import ensureDeferred

from controller.cluster.rule_book import BY_ID, RULES
from tests.integration.model import Model
from tests.integration.repairs import repair

pytest_plugins = ("tests.integration.model",)


@attrs.frozen
class Case:
    """A model that breaks one rule, and what a person fills in for the capitals of the repair."""

    rule: str
    breaks: Callable[[Model], Awaitable[None]]
    name: str
    filled: Mapping[str, str] = attrs.field(factory=dict)


async def _web_without_shared(model: Model) -> None:
    await model.box("b1", 1, ("web",))
    await model.server("web1", "web", "apache", "b1")


async def _name_server_without_service(model: Model) -> None:
    await model.box("b1", 1, ("dns",))
    await model.server("ns1", "dns", "bind", "b1")


async def _address_of_another_group(model: Model) -> None:
    await model.cluster()
    await model.write(
        """INSERT INTO ip_address (logical_server_id, address, prefix, port, type)
           SELECT id, '192.0.2.77', 24, 53, 'dedicated' FROM logical_server
           WHERE name = 'ns1.example.net'"""
    )


CASES = (
    Case("ip.shared.default-missing", _web_without_shared, "web1.example.net"),
    Case("ip.service.missing", _name_server_without_service, "ns1.example.net"),
    Case("ip.type.group", _address_of_another_group, "192.0.2.77"),
)


async def findings(model: Model, **fields: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await model.ask("health.list", **fields))["items"]
    return items


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
@ensureDeferred
async def test_the_repair_of_a_finding_makes_it_go(
    model: Model, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    await case.breaks(model)
    found = [item for item in await findings(model, rule=case.rule) if item["name"] == case.name]
    assert len(found) == 1, await findings(model)
    (finding,) = found
    assert finding["severity"] == BY_ID[case.rule].severity
    assert finding["reason"] == BY_ID[case.rule].reason
    line = finding["repair"]
    for blank, value in case.filled.items():
        line = re.sub(rf"\b{blank}\b", value, line)
    await repair(model, line, monkeypatch)
    assert case.name not in {item["name"] for item in await findings(model, rule=case.rule)}


@ensureDeferred
async def test_a_sound_cluster_has_no_findings(model: Model) -> None:
    await model.cluster()
    answer = await model.ask("health.list")
    assert answer["items"] == []
    assert answer["counts"] == {"refuse": 0, "warn": 0}
    assert answer["rules"] == len(RULES)


@ensureDeferred
async def test_findings_come_in_pages_the_severe_first(model: Model) -> None:
    await _address_of_another_group(model)
    await model.box("b9", 9, ("web", "mail"))
    for name in ("web7", "web8", "web9"):
        await model.server(name, "web", "apache", "b9")
    whole = await model.ask("health.list")
    assert whole["next"] is None
    assert [item["severity"] for item in whole["items"]] == sorted(
        item["severity"] for item in whole["items"]
    )
    paged: list[Any] = []
    cursor = ""
    while True:
        answer = await model.ask("health.list", limit=2, cursor=cursor)
        assert answer["counts"] == whole["counts"]
        paged += answer["items"]
        if answer["next"] is None:
            break
        cursor = answer["next"]
    assert paged == whole["items"]
    assert len(paged) == sum(whole["counts"].values())


@ensureDeferred
async def test_findings_are_told_apart_by_rule_severity_and_name(model: Model) -> None:
    await _address_of_another_group(model)
    await model.box("b9", 9, ("web",))
    await model.server("web9", "web", "apache", "b9")
    assert {item["rule"] for item in await findings(model, severity="refuse")} == {"ip.type.group"}
    assert {item["rule"] for item in await findings(model, severity="warn", filter="WEB9")} == {
        "ip.shared.default-missing"
    }
    assert (await model.refused("health.list", rule="no.such")).id == "health.rule.unknown"
    assert (await model.refused("health.list", severity="bad")).id == "health.severity.invalid"
