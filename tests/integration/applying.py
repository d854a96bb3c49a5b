"""Boxes of a model that apply what they are sent."""

from tests.integration.model import Model


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
