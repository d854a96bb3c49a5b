"""A wide reload is held with what it was asked, its secrets sealed."""

from typing import Any

import pytest
from pytest_twisted import ensureDeferred

from controller.commands import Registry
from controller.history.approval import HeldChanges
from controller.holding import HeldBackError, Holding
from controller.principal import system
from controller.registry import EnrolmentInfo, build_registry
from controller.runner import CommandRunner
from controller.storage import held_changes
from controller.storage.database import Database
from controller.storage.secrets import Secrets
from tests.integration.holding import OTHER, approve, ids, not_approved
from tests.integration.model import NOW, Model, NotedFleet


async def wide(model: Model) -> dict[str, Any]:
    """Give a model that reloads Apache on two boxes; one is what this runner allows."""
    await model.cluster()
    await model.box("web2", 9, ("web",))
    await model.server("web2", "web", "apache")
    add = {"lserver": "web2.example.net", "first": "192.0.2.9", "mask": "24", "type": "shared"}
    await model.ask("ip.add", **add)
    model.runner = CommandRunner(
        model.database, model.registry, holding=Holding(model.secrets, reload_boxes=1)
    )
    document: dict[str, Any] = await model.ask("model.export")
    for server in ("web1", "web2"):
        entry = document["logical_servers"][f"{server}.example.net"]
        entry["settings"] = {**entry.get("settings", {}), "timeout": 45}
    return document


@ensureDeferred
async def test_a_wide_reload_is_held_its_secrets_sealed(model: Model) -> None:
    document = await wide(model)
    document["boxes"]["web2"]["description"] = "planted-canary"
    before = await model.rows("SELECT settings FROM logical_server ORDER BY name")
    with pytest.raises(HeldBackError) as caught:
        await model.run("model.import", model=document)
    assert ids(caught.value) == {"wide-reload": 2}
    assert "reloads a daemon on 2 boxes at once: web1, web2" in caught.value.message
    assert await model.rows("SELECT settings FROM logical_server ORDER BY name") == before
    ((text, sealed),) = await model.rows(
        """SELECT h::text, s.sealed FROM held_change h JOIN secret s ON s.id = h.secret_id"""
    )
    assert "planted-canary" not in text
    assert b"planted-canary" not in bytes(sealed)
    shown = await model.ask("change.show-held", id=caught.value.held)
    assert shown["request"] == {"model": "(secret)", "prune": False}

    done = await approve(model, caught.value.held, wide_reload=2)
    assert done.result["counts"]["lserver.set"] == 2
    assert (await model.ask("pserver.show", name="web2"))["description"] == "planted-canary"
    assert await model.rows("SELECT 1 FROM held_change WHERE secret_id IS NOT NULL") == []
    assert await model.rows("SELECT 1 FROM secret s WHERE s.sealed = %s", (sealed,)) == []


@ensureDeferred
async def test_one_box_fewer_reloads_at_once(model: Model) -> None:
    document = await wide(model)
    del document["logical_servers"]["web2.example.net"]["settings"]["timeout"]
    done = await model.run("model.import", model=document)
    assert done.change_id is not None


@ensureDeferred
async def test_a_held_change_ends_by_itself_and_its_secret_with_it(model: Model) -> None:
    document = await wide(model)
    with pytest.raises(HeldBackError) as caught:
        await model.run("model.import", model=document)
    await model.write("UPDATE held_change SET expires_at = now()")
    error = await not_approved(model, caught.value.held, wide_reload=2)
    assert (error.id, "nobody approved it" in error.message) == ("change.held.ended", True)
    assert (await model.ask("change.held"))["items"] == []
    assert await model.database.transaction(system("test"), held_changes.purge, name="t") == 1
    assert await model.rows("SELECT state, secret_id FROM held_change") == [("expired", None)]
    assert await model.rows("SELECT 1 FROM secret WHERE owner_id IS NULL AND name IS NULL") == []


@pytest.mark.parametrize("key", ["another", "none"])
@ensureDeferred
async def test_secrets_that_cannot_be_opened_are_not_run_without(
    model: Model, key: str, tmp_path: Any
) -> None:
    document = await wide(model)
    with pytest.raises(HeldBackError) as caught:
        await model.run("model.import", model=document)
    secrets = Secrets.create(tmp_path / "another.key") if key == "another" else None
    commands = HeldChanges(model.registry, Holding(secrets)).commands()
    model.runner = CommandRunner(model.database, Registry(commands), holding=Holding(secrets))
    error = await not_approved(model, caught.value.held, wide_reload=2)
    assert (error.id, "has secrets that" in error.message) == ("change.held.unreadable", True)


@ensureDeferred
async def test_another_controller_approves_what_one_has_held(
    model: Model, database_url: str, tmp_path: Any
) -> None:
    document = await wide(model)
    with pytest.raises(HeldBackError) as caught:
        await model.run("model.import", model=document)
    secrets = Secrets.load(tmp_path / "secrets.key")
    database = await Database.connect(database_url)
    try:
        registry = build_registry(
            EnrolmentInfo("198.51.100.99", 8445, "ab" * 32),
            lambda: float(NOW),
            fleet=NotedFleet(),
            secrets=secrets,
        )
        runner = CommandRunner(database, registry, holding=Holding(secrets, reload_boxes=1))
        request = registry["change.approve"].request(caught.value.held, {"wide-reload": 2})
        done = await runner.run(OTHER, "change.approve", request)
        assert done.change_id is not None
    finally:
        await database.close()
