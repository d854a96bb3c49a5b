"""The commands ``dns.show`` and ``dns.roles``: who serves new zones, and in which role."""

import json
from typing import Any

import attrs

from controller.cluster.placement.dns_roles import (
    AUDIENCES,
    MASTER,
    NO_ROLE,
    ROLES,
    WORDS,
    flaw,
    of_audience,
    serves,
)
from controller.cluster.rules import dns_roles as rules_dns_roles
from controller.cluster.rules.guard import watch
from controller.cluster.rules.loading import Part, lock_boxes
from controller.commands import Command, Work
from controller.refusal import CommandError
from controller.storage.database import Transaction

COUNTED = 20_000
"""Zones of all name servers together are counted up to here, at least 100 of each server."""
LEAST = 100


@attrs.frozen
class ShowDns:
    """Nothing is asked for."""


@attrs.frozen
class AssignRoles:
    """The name servers with a role for new zones; empty: nobody has it. All empty: by chance."""

    master: str = ""
    slave1: str = ""
    slave2: str = ""


@attrs.frozen
class NameServerRow:
    """A name server with its settings."""

    id: str
    name: str
    signup: bool
    settings: dict[str, Any] = attrs.field(hash=False)
    boxes: tuple[str, ...] = ()

    @property
    def role(self) -> str:
        """Its role for new zones."""
        return str(self.settings.get("role", NO_ROLE))

    @property
    def used_by(self) -> str:
        """Whose zones it takes."""
        return str(self.settings.get("used_by", "all"))


async def _name_servers(tx: Transaction, *, lock: bool = False) -> list[NameServerRow]:
    if lock:
        await tx.rows(
            """SELECT 1 FROM logical_server WHERE group_name = 'dns' ORDER BY id
               FOR NO KEY UPDATE"""
        )
    found = await tx.rows(
        """SELECT s.id::text, s.name, s.signup, s.settings,
                  array(SELECT b.name FROM lane l JOIN box b ON b.id = l.box_id
                        WHERE l.logical_server_id = s.id ORDER BY b.name)
           FROM logical_server s WHERE s.group_name = 'dns' ORDER BY s.name"""
    )
    return [NameServerRow(row[0], row[1], row[2], row[3], tuple(row[4])) for row in found]


_ZONES = """
SELECT z.masters, z.slaves FROM unnest(%s::uuid[]) WITH ORDINALITY AS s(id, place),
LATERAL (SELECT count(*) FILTER (WHERE role = 'master') AS masters,
                count(*) FILTER (WHERE role = 'secondary') AS slaves
         FROM (SELECT role FROM zone_server n WHERE n.logical_server_id = s.id LIMIT %s) n) z
ORDER BY s.place
"""


async def show(work: Work, request: ShowDns) -> dict[str, Any]:
    """Show every name server with its role, whom it is for, and how many zones it has.

    Zones of a server are counted up to ``counted_to``, where there are more.
    ``audiences`` says for each kind of customer whether the roles count, and if not, why.
    """
    servers = await _name_servers(work.tx)
    most = max(LEAST, COUNTED // max(1, len(servers)))
    counts = await work.tx.rows(_ZONES, ([server.id for server in servers], most))
    return {
        "name_servers": [
            {
                "name": server.name,
                "pservers": list(server.boxes),
                "role": server.role,
                "used_by": server.used_by,
                "signup": server.signup,
                "zones_as_master": masters,
                "zones_as_slave": slaves,
            }
            for server, (masters, slaves) in zip(servers, counts, strict=True)
        ],
        "counted_to": most,
        "audiences": _audiences(servers),
    }


def _audiences(servers: list[NameServerRow]) -> list[dict[str, Any]]:
    shown = []
    for audience in AUDIENCES:
        fitting = of_audience(servers, audience)
        wrong = flaw(fitting) if fitting else "no name server takes their zones"
        shown.append(
            {
                "audience": audience,
                "title": WORDS[audience],
                "name_servers": [server.name for server in fitting],
                "by_role": wrong is None,
                "reason": wrong,
            }
        )
    return shown


async def assign(work: Work, request: AssignRoles) -> dict[str, Any]:
    """Give the roles for new zones to these servers, and take them from the others (R362, R363).

    Only servers for the same customers are touched: a pair that is for others keeps its roles.
    Zones that exist stay where they are until ``dns.apply``.
    """
    # Boxes are locked before logical servers, as all commands do. A role is judged over all name
    # servers: what else is on their boxes has no part in it.
    ids = [server.id for server in await _name_servers(work.tx)]
    await lock_boxes(work.tx, Part.of(servers=ids))
    guard = await watch(work.tx, rules=rules_dns_roles.RULES)
    servers = await _name_servers(work.tx, lock=True)
    wanted = _wanted(request, servers)
    touched = {a for a in AUDIENCES for server in wanted.values() if serves(server.used_by, a)}
    roles = {server.id: role for role, server in wanted.items()}
    changed = []
    for server in servers:
        overlaps = not wanted or any(serves(server.used_by, audience) for audience in touched)
        role = roles.get(server.id, NO_ROLE if overlaps else server.role)
        if role == server.role:
            continue
        settings = {name: value for name, value in server.settings.items() if name != "role"}
        if role != NO_ROLE:
            settings["role"] = role
        await work.tx.run(
            "UPDATE logical_server SET settings = %s::jsonb, version = version + 1 WHERE id = %s",
            (json.dumps(settings), server.id),
        )
        work.change.row("logical_server", server.name, {"role": server.role}, {"role": role})
        changed.append(server.name)
    warnings = await guard.check(work.tx)
    after = await _name_servers(work.tx)
    return {
        "roles": {server.name: server.role for server in after},
        "changed": changed,
        "audiences": _audiences(after),
        "warnings": warnings,
    }


def _wanted(request: AssignRoles, servers: list[NameServerRow]) -> dict[str, NameServerRow]:
    """Give the server of each role that is asked for; raises `CommandError`."""
    known = {server.name: server for server in servers}
    wanted: dict[str, NameServerRow] = {}
    for role in ROLES:
        name = str(getattr(request, role)).lower().removesuffix(".")
        if not name:
            continue
        if name not in known:
            raise CommandError(
                "dns.roles.unknown",
                "no name server has this name",
                field=role,
                value=name,
                allowed=", ".join(known) or "hsctl lserver add NAME --group dns --type bind",
                status=404,
            )
        if known[name] in wanted.values():
            raise CommandError(
                "dns.roles.twice",
                f"{name} cannot have two roles",
                field=role,
                value=name,
                allowed="a name server for each role",
            )
        wanted[role] = known[name]
    if wanted and MASTER not in wanted:
        raise CommandError(
            "dns.roles.no-master",
            "roles count only where a server is master",
            field=MASTER,
            allowed=", ".join(known),
        )
    if len({server.used_by for server in wanted.values()} - {"all"}) > 1:
        raise CommandError(
            "dns.roles.audience",
            "these name servers are for different customers",
            field=MASTER,
            value=", ".join(f"{server.name} ({server.used_by})" for server in wanted.values()),
            allowed="servers that are used by the same customers (hsctl lserver set)",
            status=409,
        )
    return wanted


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        "dns.show",
        "GET",
        "/dns",
        ShowDns,
        "provider.read",
        "Show the name servers with their roles",
        show,
    ),
    Command(
        "dns.roles",
        "PUT",
        "/dns/roles",
        AssignRoles,
        "provider.write",
        "Assign the roles of name servers for new zones",
        assign,
        "Without any, master and slaves are drawn at random for each zone. Zones that exist stay "
        "where they are until they are moved (dns.apply).",
    ),
)
