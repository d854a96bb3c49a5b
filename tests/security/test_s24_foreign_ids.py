"""S24: what is another account's does not exist, whatever id a request names.

Cases: Froxlor CVE-2026-113676, FOSSBilling CVE-2025-64105. The commands are one lock, row security
in PostgreSQL the second.
"""

from pathlib import Path
from typing import Any

import attrs
import pytest
from pytest_twisted import ensureDeferred

from controller.principal import Principal
from controller.storage.database import Transaction
from tests.integration.model import Model
from tests.web_site import Site, running_site

ACCOUNT_COMMANDS: dict[str, tuple[dict[str, str], Any]] = {
    "domain.show": ({"name": "{name}"}, None),
    "domain.delete": ({"name": "{name}"}, None),
    "domain.export": ({"name": "{name}"}, None),
    "domain.import": ({"name": "{name}"}, {"text": "www 60 IN A 192.0.2.9\n", "replace": True}),
    "record.add": (
        {"domain": "{name}"},
        {"name": "evil", "type": "A", "values": ["192.0.2.9"]},
    ),
    "record.set": ({"domain": "{name}"}, {"name": "www", "type": "A", "values": ["192.0.2.9"]}),
    "record.list": ({"domain": "{name}"}, None),
    "record.delete": ({"domain": "{name}"}, {"name": "www"}),
    "site.show": ({"name": "{name}"}, None),
    "site.set": ({"name": "{name}"}, {"indexes": True}),
    "site.address": ({"name": "{name}"}, {"type": "dedicated"}),
}
NOT_BY_ID = {"domain.add", "domain.list"}


@attrs.frozen
class SignedInAs:
    """Lets everybody in as one account."""

    account: int

    async def principal(self, request: Any) -> Principal:
        return Principal("account", f"account:{self.account}", self.account)


async def two_accounts(model: Model) -> tuple[int, int]:
    await model.shop()
    other = await model.ask("account.add", name="other")
    await model.ask("domain.add", name="other.test", account="other")
    (acme,) = await model.rows("SELECT id FROM account WHERE name = 'acme'")
    return acme[0], other["id"]


async def ask(site: Site, model: Model, name: str, domain: str) -> tuple[int, dict[str, Any]]:
    fields, body = ACCOUNT_COMMANDS[name]
    command = model.registry[name]
    path = "/api/v1" + command.path
    for field, value in fields.items():
        path = path.replace("{" + field + "}", value.replace("{name}", domain))
    sent = body if body is not None or command.method in ("GET", "DELETE") else {}
    reply = await site.ask(command.method, path, sent, token=None)
    return reply.status, reply.json


def test_every_command_of_accounts_is_tried(model: Model) -> None:
    permitted = {
        command.name for command in model.registry if command.permission.startswith("account.")
    }
    assert permitted == ACCOUNT_COMMANDS.keys() | NOT_BY_ID


@ensureDeferred
async def test_a_foreign_domain_is_answered_as_one_that_does_not_exist(
    model: Model, tmp_path: Path
) -> None:
    _, other = await two_accounts(model)
    before = await model.footprint()
    async with running_site(
        tmp_path,
        registry=model.registry,
        runner=model.runner,
        authenticator=SignedInAs(other),
    ) as site:
        for name in ACCOUNT_COMMANDS:
            foreign = await ask(site, model, name, "shop.test")
            absent = await ask(site, model, name, "nosuch.test")
            assert foreign[0] == 404, name
            told = str(foreign[1]).replace("shop.test", "nosuch.test")
            assert (foreign[0], told) == (absent[0], str(absent[1])), name
    assert await model.footprint() == before


@ensureDeferred
async def test_ones_own_domain_is_served(model: Model, tmp_path: Path) -> None:
    _, other = await two_accounts(model)
    async with running_site(
        tmp_path,
        registry=model.registry,
        runner=model.runner,
        authenticator=SignedInAs(other),
    ) as site:
        for name in ("domain.show", "record.list", "site.show", "domain.export"):
            assert (await ask(site, model, name, "other.test"))[0] == 200, name
        listed = await site.ask("GET", "/api/v1/domains", token=None)
        assert [item["name"] for item in listed.json["items"]] == ["other.test"]


@ensureDeferred
async def test_a_domain_cannot_be_added_to_a_foreign_account(model: Model, tmp_path: Path) -> None:
    _, other = await two_accounts(model)
    before = await model.footprint()
    async with running_site(
        tmp_path,
        registry=model.registry,
        runner=model.runner,
        authenticator=SignedInAs(other),
    ) as site:
        body = {"name": "new.test", "account": "acme"}
        foreign = await site.ask("POST", "/api/v1/domains", body, token=None)
        body = {"name": "new.test", "account": "nosuch"}
        absent = await site.ask("POST", "/api/v1/domains", body, token=None)
        assert foreign.status == absent.status >= 400
        assert foreign.json["id"] == absent.json["id"]
    assert await model.footprint() == before


@pytest.mark.parametrize("relation", ["account", "domain", "zone", "record", "site"])
@ensureDeferred
async def test_the_database_itself_hides_foreign_rows(model: Model, relation: str) -> None:
    acme, other = await two_accounts(model)

    async def owners(tx: Transaction) -> set[int]:
        return {row[0] for row in await tx.rows(f"SELECT owner_id FROM {relation}")}

    for account in (acme, other):
        principal = Principal("account", "account", account)
        seen = await model.database.transaction(principal, owners, name="test")
        assert seen == {account}
