"""Every rule of the cluster: broken by a model, found, repaired as the finding says, and gone."""

import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import psycopg2
import pytest
from pytest_twisted import ensureDeferred

from controller.cluster.rules.book import BY_ID, RULES
from controller.cluster.rules.health import KEPT_SECONDS, Health, ListFindings
from controller.commands import Work
from controller.storage.database import Transaction
from tests.integration.key_pairs import pair
from tests.integration.model import NOW, OPERATOR, Model
from tests.integration.repairs import repair

pytest_plugins = ("tests.integration.model",)


GROUPS = (
    "web",
    "dns",
    "mail",
    "windows",
    "mssql",
    "realmedia",
    "postgresql",
    "vps",
    "control-panel",
)


@attrs.frozen
class Case:
    """A model that breaks one rule, and what a person fills in for the capitals of the repair."""

    rule: str
    name: str
    breaks: Callable[[Model], Awaitable[None]]
    filled: Mapping[str, str] = attrs.field(factory=dict)
    without: str = ""
    """What the schema itself holds, taken away by its owner so that the rule can be broken."""


async def _box(model: Model, name: str, number: int, os_family: str = "linux") -> None:
    await model.ask(
        "pserver.add",
        name=name,
        ip=f"198.51.100.{number}",
        mask="24",
        groups=GROUPS,
        os_family=os_family,
    )


def _company(
    group: str, type_: str, company: tuple[str, str], os_family: str = "linux"
) -> Callable[[Model], Awaitable[None]]:
    """Put ``company`` on the box of a server that needs its own; b2 is free then."""

    async def breaks(model: Model) -> None:
        for number, (name, what) in enumerate(
            (("alone", (group, type_)), ("company", company)), start=1
        ):
            await _box(model, f"b{number}", number, os_family)
            await model.server(name, *what, f"b{number}")
        await model.write(
            "UPDATE lane SET box_id = (SELECT id FROM box WHERE name = 'b1')",
        )

    return breaks


async def _empty_box(model: Model) -> None:
    await model.box("b1", 1, ("web",))


async def _web_server(model: Model) -> None:
    await _box(model, "b1", 1)
    await model.server("web1", "web", "apache", "b1")


async def _name_server(model: Model) -> None:
    await _box(model, "b1", 1)
    await model.server("ns1", "dns", "bind", "b1")


async def _box_gone(model: Model) -> None:
    await _web_server(model)
    await _box(model, "b2", 2)
    await model.ask("pserver.retire", name="b1", box_is_gone=True)


async def _group_taken_from_the_box(model: Model) -> None:
    await _name_server(model)
    await model.write("UPDATE box SET groups = '{web}'")


async def _two_web_servers(model: Model) -> None:
    await _web_server(model)
    await model.server("web2", "web", "apache", "b1")
    await _box(model, "b2", 2)


async def _two_types_of_one_group(model: Model) -> None:
    await _two_web_servers(model)
    await model.write(
        "UPDATE logical_server SET service_type = 'mrtg' WHERE name = 'web2.example.net'"
    )


async def _system_of_the_box_changed(model: Model) -> None:
    await _web_server(model)
    await model.write("UPDATE box SET os_family = 'windows'")
    await _box(model, "b2", 2)


async def _give(
    model: Model, server: str, address: str, type_: str, prefix: int, port: int
) -> None:
    """Give an address past all rules."""
    await model.write(
        """INSERT INTO ip_address (logical_server_id, address, prefix, port, type)
           SELECT id, %s::inet, %s, %s, %s FROM logical_server WHERE name = %s""",
        (address, prefix, port, type_, f"{server}.example.net"),
    )


async def _tls_port_is_the_plain_one(model: Model) -> None:
    await model.cluster()
    await model.write(
        """UPDATE logical_server SET settings = '{"tls_port": 80}'
           WHERE name = 'web1.example.net'"""
    )


async def _address_of_another_group(model: Model) -> None:
    await model.cluster()
    await _give(model, "ns1", "192.0.2.77", "dedicated", 24, 53)


async def _second_service_address(model: Model) -> None:
    await model.cluster()
    await _give(model, "ns1", "192.0.2.77", "service", 24, 53)


def _two_of_mail(type_: str) -> Callable[[Model], Awaitable[None]]:
    async def breaks(model: Model) -> None:
        await _box(model, "b1", 1)
        await model.server("mail1", "mail", "qmail", "b1")
        for address in ("192.0.2.76", "192.0.2.77"):
            await _give(model, "mail1", address, type_, 24, 25)

    return breaks


async def _control_panel_elsewhere(model: Model) -> None:
    await _box(model, "b1", 1)
    await model.server("cp1", "control-panel", "control-panel", "b1")
    await _give(model, "cp1", "192.0.2.77", "service", 24, 8443)


async def _freebsd(model: Model) -> None:
    await _box(model, "b1", 1, "freebsd")
    await model.server("web1", "web", "apache", "b1")


async def _freebsd_pool_with_a_network_mask(model: Model) -> None:
    await _freebsd(model)
    for address in ("192.0.2.76", "192.0.2.77"):
        await _give(model, "web1", address, "dedicated", 24, 80)


async def _freebsd_pool_without_its_first(model: Model) -> None:
    await _freebsd(model)
    await _give(model, "web1", "192.0.2.77", "dedicated", 32, 80)


async def _endpoint_of_two(model: Model) -> None:
    await model.cluster()
    await model.box("web2", 9, ("web",))
    await model.server("web2", "web", "apache")
    await _give(model, "web2", "192.0.2.3", "dedicated", 24, 443)
    await model.write(
        """UPDATE logical_server SET settings = '{"tls_port": 443}'
           WHERE name = 'web1.example.net'"""
    )


async def _name_servers_on_one_box(model: Model) -> None:
    await _name_server(model)
    await model.server("ns2", "dns", "bind", "b1")
    await _box(model, "b2", 2)


async def _name_servers_for_resellers(model: Model) -> None:
    await model.cluster()
    for name in ("ns1", "ns2"):
        await model.ask(
            "lserver.set", name=f"{name}.example.net", settings={"used_by": "resellers"}
        )


async def _slave_without_a_master(model: Model) -> None:
    await model.cluster()
    await model.ask("lserver.set", name="ns1.example.net", settings={"role": "slave1"})


def _write_pair(certificate: str, key: str) -> None:
    """Write the files that the repair names, in the present directory."""
    Path("chain.pem").write_text(certificate)
    Path("key.pem").write_text(key)


async def _shared_certificate_ends(model: Model) -> None:
    chain, key = pair("*.shared.test", days=10)
    await model.ask("ssl.upload", domain="shared.test", certificate=chain, key=key)
    _write_pair(*pair("*.shared.test", days=90))


CASES = (
    Case(
        "pserver.separate.windows",
        "company.example.net",
        _company("windows", "iis", ("realmedia", "realmedia"), "windows"),
        {"BOX": "b2"},
    ),
    Case(
        "pserver.separate.mssql",
        "company.example.net",
        _company("mssql", "mssql", ("realmedia", "realmedia"), "windows"),
        {"BOX": "b2"},
    ),
    Case(
        "pserver.separate.realmedia",
        "company.example.net",
        _company("realmedia", "realmedia", ("mssql", "mssql"), "windows"),
        {"BOX": "b2"},
    ),
    Case(
        "pserver.separate.postgresql",
        "company.example.net",
        _company("postgresql", "postgresql", ("web", "apache")),
        {"BOX": "b2"},
    ),
    Case(
        "pserver.separate.vps",
        "company.example.net",
        _company("vps", "vps", ("web", "apache")),
        {"BOX": "b2"},
    ),
    Case("pserver.empty", "b1", _empty_box, {"NAME": "web1.example.net"}),
    Case("pserver.retired.in-use", "web1.example.net", _box_gone, {"BOX": "b2"}),
    Case("lserver.group.not-on-box", "ns1.example.net", _group_taken_from_the_box),
    Case("lserver.type.one-per-box", "web2.example.net", _two_web_servers, {"BOX": "b2"}),
    Case("lserver.group.spread", "web2.example.net", _two_types_of_one_group, {"BOX": "b2"}),
    Case("group.signup.none", "web", _web_server),
    Case("lserver.type.platform", "web1.example.net", _system_of_the_box_changed, {"BOX": "b2"}),
    Case("lserver.tls-port.plain", "web1.example.net", _tls_port_is_the_plain_one),
    Case("ip.type.group", "192.0.2.77", _address_of_another_group),
    Case(
        "ip.service.exactly-one",
        "192.0.2.77",
        _second_service_address,
        without="DROP INDEX ip_address_one_service",
    ),
    Case(
        "ip.outgoing.one",
        "192.0.2.77",
        _two_of_mail("outgoing"),
        without="DROP INDEX ip_address_one_outgoing",
    ),
    Case(
        "ip.bouncing.one",
        "192.0.2.77",
        _two_of_mail("bouncing"),
        without="DROP INDEX ip_address_one_bouncing",
    ),
    Case("ip.service.of-the-box", "192.0.2.77", _control_panel_elsewhere),
    Case("ip.freebsd.pool-mask", "192.0.2.76", _freebsd_pool_with_a_network_mask),
    Case("ip.freebsd.pool-first", "192.0.2.77", _freebsd_pool_without_its_first, {"MASK": "24"}),
    Case("ip.service.missing", "ns1.example.net", _name_server),
    Case("ip.shared.default-missing", "web1.example.net", _web_server),
    Case("ip.endpoint.taken", "192.0.2.3", _endpoint_of_two),
    Case("lserver.dns.one-per-box", "ns2.example.net", _name_servers_on_one_box, {"BOX": "b2"}),
    Case(
        "dns.servers.two", "ns1.example.net", _name_server, {"NAME": "ns2.example.net", "BOX": "b1"}
    ),
    Case("dns.audience.none", "dns for master-admin", _name_servers_for_resellers),
    Case("dns.roles.without-effect", "dns for resellers", _slave_without_a_master),
    Case(
        "ssl.shared.ending",
        "shared.test",
        _shared_certificate_ends,
        {"CHAIN": "chain.pem", "KEY": "key.pem"},
    ),
)


async def findings(model: Model, **fields: Any) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = (await model.ask("health.list", **fields))["items"]
    return items


def take_away(owner_url: str, statement: str) -> None:
    """Change the schema as its owner."""
    connection = psycopg2.connect(owner_url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
@ensureDeferred
async def test_the_repair_of_a_finding_makes_it_go(
    model: Model, database_url: str, case: Case, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    if case.without:
        take_away(database_url, case.without)
    await case.breaks(model)
    found = [item for item in await findings(model, rule=case.rule) if item["name"] == case.name]
    assert len(found) == 1, await findings(model)
    (finding,) = found
    assert finding["severity"] == BY_ID[case.rule].severity
    assert finding["reason"] == BY_ID[case.rule].reason
    assert await _words_of_servers(model) == await _findings_of_servers(model)
    line = finding["repair"]
    for blank, value in case.filled.items():
        line = re.sub(rf"\b{blank}\b", value, line)
    assert not re.search(r"\b[A-Z]{3,}\b", line), line
    await repair(model, line, monkeypatch)
    assert case.name not in {item["name"] for item in await findings(model, rule=case.rule)}


async def _words_of_servers(model: Model) -> dict[str, set[str]]:
    """Give what the list says of servers, which reads less of the model."""
    items = (await model.ask("lserver.list"))["items"]
    return {item["name"]: set(item["warnings"]) for item in items if item["warnings"]}


async def _findings_of_servers(model: Model) -> dict[str, set[str]]:
    words: dict[str, set[str]] = {}
    for item in await findings(model):
        if item["kind"] == "lserver":
            words.setdefault(item["name"], set()).add(item["words"])
    return words


def test_every_rule_has_a_case() -> None:
    assert {rule.id for rule in RULES} == {case.rule for case in CASES}


def test_every_rule_says_where_it_comes_from_and_why() -> None:
    for rule in RULES:
        assert rule.sources, rule.id
        assert rule.reason.endswith("."), rule.id
        assert re.fullmatch(r"[a-z]+(\.[a-z-]+)+", rule.id), rule.id
    assert len(BY_ID) == len(RULES)


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
    for left in range(len(whole["items"]), 0, -2):
        answer = await model.ask("health.list", limit=2, cursor=cursor)
        assert answer["counts"] == whole["counts"]
        assert (answer["next"] is None) == (left <= 2)
        paged += answer["items"]
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


@ensureDeferred
async def test_what_was_found_is_kept_for_a_minute_at_most(model: Model) -> None:
    await model.cluster()
    now = 1000.0
    health = Health(lambda: now)

    async def rules() -> set[str]:
        async def ask(tx: Transaction) -> set[str]:
            answer = await health.list(Work(tx, OPERATOR, None), ListFindings())
            return {item["rule"] for item in answer["items"]}

        return await model.database.transaction(OPERATOR, ask, name="test", reads=True)

    assert await rules() == set()
    await model.write("UPDATE box SET groups = '{mail}' WHERE name = 'ns1'")  # past all commands
    assert await rules() == set()
    now += KEPT_SECONDS
    assert await rules() == {"lserver.group.not-on-box"}
    await model.ask("pserver.edit", name="ns1", groups=("dns",))
    assert await rules() == set()


@ensureDeferred
async def test_a_shared_certificate_is_told_of_from_thirty_days_before_its_end(
    model: Model,
) -> None:
    for days, words in (
        (31, []),
        (30, []),
        (29, ["the certificate for *.shared.test ends in 29 days"]),
        (1, ["the certificate for *.shared.test ends in one day"]),
        (-1, ["the certificate for *.shared.test has expired"]),
    ):
        chain, key = pair("*.shared.test", days=40)
        await model.ask("ssl.upload", domain="shared.test", certificate=chain, key=key)
        await model.write(
            "UPDATE shared_certificate SET not_after = to_timestamp(%s)",
            (NOW + days * 86400,),
        )
        assert [item["words"] for item in await findings(model, rule="ssl.shared.ending")] == words
