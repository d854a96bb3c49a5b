"""Boxes of a model that apply what they are sent, and more name servers for it."""

from tests.integration.model import Model


async def name_servers(model: Model, *numbers: int) -> None:
    """Add name servers beside ns1 and ns2, open for signup."""
    for number in numbers:
        await model.box(f"ns{number}", number + 10, ("dns",))
        await model.server(f"ns{number}", "dns", "bind")
        await model.ask(
            "ip.add",
            lserver=f"ns{number}.example.net",
            first=f"192.0.2.{number + 10}",
            mask="24",
            type="service",
        )
        await model.ask("lserver.signup", name=f"ns{number}.example.net", signup=True)
    await model.write("UPDATE box SET first_seen_at = now()")


async def applied(model: Model, *boxes: str) -> None:
    """Have boxes (all of them by default) apply and answer all that they must."""
    which = "(cardinality(%s::text[]) = 0 OR b.name = ANY(%s))"
    names = list(boxes)
    await model.write(
        f"""UPDATE lane l SET stored_revision = s.revision, settled_revision = s.revision
            FROM logical_server s, box b
            WHERE s.id = l.logical_server_id AND b.id = l.box_id AND {which}""",
        (names, names),
    )
    await model.write(
        f"""INSERT INTO zone_observation (box_id, logical_server_id, zone, serial)
            SELECT b.id, n.logical_server_id, z.name, z.serial
            FROM zone_server n JOIN zone z ON z.id = n.zone_id
            JOIN lane l ON l.logical_server_id = n.logical_server_id JOIN box b ON b.id = l.box_id
            WHERE n.role = 'secondary' AND {which}
            ON CONFLICT (box_id, logical_server_id, zone) DO UPDATE SET serial = excluded.serial""",
        (names, names),
    )
    await model.write("UPDATE box SET connected = true")
