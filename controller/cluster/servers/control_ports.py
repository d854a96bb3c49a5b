"""The port of a daemon's control channel on loopback: each of a type has its own on a box."""

from typing import Any

from controller.refusal import CommandError
from controller.storage.database import Transaction
from templates.service_type import KnownType


async def with_control_port(
    tx: Transaction,
    box_id: str,
    known: KnownType,
    settings: dict[str, Any],
    *,
    besides: str | None = None,
    renew: bool = False,
) -> dict[str, Any]:
    """Give the settings with a control port that is free on the box, where the type has one.

    ``besides`` is the logical server itself, which takes no port from itself; ``renew`` has another
    port chosen where the present one is taken. Raises `CommandError`
    ``lserver.control-port.taken``.
    """
    default = getattr(known.settings(), "control_port", None)
    if default is None:
        return settings
    found = await tx.rows(
        """SELECT coalesce((s.settings->>'control_port')::int, %s)
           FROM lane l JOIN logical_server s ON s.id = l.logical_server_id
           WHERE l.box_id = %s AND s.service_type = %s AND s.id IS DISTINCT FROM %s::uuid""",
        (default, box_id, known.name, besides),
    )
    used = {port for (port,) in found}
    wanted = settings.get("control_port")
    if wanted in used and not renew:
        raise CommandError(
            "lserver.control-port.taken",
            "another server on the box has this control port",
            field="settings.control_port",
            value=str(wanted),
            allowed="another port, or none to have one chosen",
        )
    if (default if wanted is None else wanted) not in used:
        return settings
    chosen = next(port for port in range(default, 65536) if port not in used)
    return {**settings, "control_port": chosen}
