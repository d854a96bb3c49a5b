"""Undo: a new change that brings back exactly what another one changed, or a refusal."""

from typing import Any

import pytest_twisted

from tests.integration.model import Model


async def undo(model: Model, change: int | None) -> Any:
    return await model.run("change.undo", id=change)


async def shown(model: Model) -> list[tuple[str, str, int, bool]]:
    found = await model.rows(
        """SELECT r.name, r.type, r.ttl, r.generated, r.data FROM record r JOIN zone z
           ON z.id = r.zone_id WHERE z.name = 'shop.test' ORDER BY 1, 2, 5"""
    )
    return found


@pytest_twisted.ensureDeferred
async def test_a_replaced_record_comes_back_as_the_systems_own(model: Model) -> None:
    await model.shop()
    before = await shown(model)
    done = await model.run(
        "record.set", domain="shop.test", name="www", type="A", values=("192.0.2.77",), ttl=60
    )
    assert await shown(model) != before
    undone = await undo(model, done.change_id)
    assert await shown(model) == before
    change = await model.ask("change.show", id=undone.change_id)
    assert (change["undoes"], change["command"]) == (done.change_id, "change.undo")
    assert (await model.ask("change.show", id=done.change_id))["undone_by"] == [undone.change_id]
    again = await undo(model, undone.change_id)
    assert ("www", "A", 60, False, "192.0.2.77") in await shown(model)
    await undo(model, again.change_id)
    assert await shown(model) == before


@pytest_twisted.ensureDeferred
async def test_a_deleted_domain_comes_back_with_its_ids(model: Model) -> None:
    await model.shop()
    await model.ask("site.set", name="shop.test", index=("a.html",))
    read = """SELECT d.id, s.id, s.settings, s.ip_address_id, z.contact, z.ttl
              FROM domain d JOIN site s ON s.domain_id = d.id JOIN zone z ON z.domain_id = d.id"""
    before, records = await model.rows(read), await shown(model)
    done = await model.run("domain.delete", name="shop.test")
    undone = await undo(model, done.change_id)
    assert (await model.rows(read), await shown(model)) == (before, records)
    await undo(model, undone.change_id)
    assert await model.rows(read) == []
