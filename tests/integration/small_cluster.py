"""The small cluster that undos are tried on, and its whole model as text."""

from typing import Any

import msgspec
import pytest_twisted

from controller.refusal import CommandError
from tests.integration.model import Model

WEB = {"lserver": "web1.example.net", "mask": "24"}


async def fill(model: Model) -> None:
    """Make the small cluster: three boxes at work, one to spare, one.test of the account acme."""
    await model.cluster()
    await model.box("spare", 9, ("web", "mail"))
    await model.write("UPDATE box SET first_seen_at = now()")
    last = "203.0.113.30"
    await model.ask("ip.add", first="203.0.113.1", last=last, type="dedicated", **WEB)
    await model.ask("ip.add", first="203.0.113.100", type="shared", tag=30, **WEB)
    await model.server("idle", "web", "apache", "spare")
    await model.ask("account.add", name="idle")
    await model.ask("account.add", name="acme")
    await model.ask("domain.add", name="one.test", account="acme")


@pytest_twisted.async_fixture
async def small(model: Model) -> Model:
    await fill(model)
    return model


DUMP = """
SELECT 'account ' || id || name FROM account
UNION ALL SELECT 'cluster ' || third_level || instant_access FROM cluster
UNION ALL SELECT 'domain ' || d::text FROM (SELECT id, owner_id, name, reversed FROM domain) d
UNION ALL SELECT 'zone ' || z::text FROM
    (SELECT name, owner_id, domain_id, ttl, contact FROM zone) z
UNION ALL SELECT 'zone server ' || n::text FROM
    (SELECT z.name, n.logical_server_id, n.role FROM zone_server n JOIN zone z ON z.id = n.zone_id
     WHERE z.owner_id IS NOT NULL) n
UNION ALL SELECT 'record ' || r::text FROM
    (SELECT z.name AS zone, r.owner_id, r.name, r.type, r.ttl, r.data, r.generated
     FROM record r JOIN zone z ON z.id = r.zone_id) r
UNION ALL SELECT 'site ' || s::text FROM
    (SELECT s.id, s.owner_id, s.domain_id, s.logical_server_id, i.address, s.settings,
            s.certificate_id, s.alias FROM site s JOIN ip_address i ON i.id = s.ip_address_id) s
UNION ALL SELECT 'address ' || i::text FROM
    (SELECT logical_server_id, address, prefix, port, type, tag, site_id FROM ip_address) i
UNION ALL SELECT 'server ' || s::text FROM
    (SELECT id, name, group_name, service_type, description, settings, signup
     FROM logical_server) s
UNION ALL SELECT 'lane ' || l::text FROM (SELECT box_id, logical_server_id FROM lane) l
UNION ALL SELECT 'box ' || b::text FROM
    (SELECT id, name, address, os_family, groups, intent, description, monitoring, retired_at
     FROM box) b
"""
"""The model, without what only grows and without the ids that nothing outside the rows knows."""


async def model_rows(model: Model) -> list[str]:
    """Give the model, and what boxes are told of it, less serials and the derived service zone."""
    told = await model.rows(
        """SELECT o.logical_server_id::text, o.kind, o.key, o.spec FROM desired_object o
           WHERE NOT o.deleted AND o.key <> 'example.net'"""
    )
    objects = []
    for server, kind, key, spec in told:
        fields = msgspec.msgpack.decode(spec)
        fields.pop("serial", None)
        objects.append(f"object {server} {kind} {key} {msgspec.json.encode(fields)!r}")
    return sorted([*(row for (row,) in await model.rows(DUMP)), *objects])


async def undo(model: Model, change: int | None) -> Any:
    return await model.run("change.undo", id=change)


async def refused(model: Model, change: int | None) -> CommandError:
    """Give how an undo is refused, and see that it wrote nothing."""
    return await model.refused("change.undo", id=change)
