"""The settings of a logical server: read, checked and explained as its service type says.

A setting that is left at its default is not stored. One that names another logical server keeps
that server from being deleted.
"""

import json
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

import attrs
import msgspec

from controller.refusal import CommandError
from controller.storage.database import Transaction
from templates.registry import KNOWN_TYPES
from templates.service_type import KnownType
from templates.settings import LOCAL, Setting, settings_of


@attrs.frozen
class Reference:
    """A setting of a logical server that names another one."""

    server: str
    setting: str
    title: str


def read_settings(known: KnownType, given: Mapping[str, Any], *, balanced: bool) -> dict[str, Any]:
    """Read settings as a person or a program gives them; an empty text is the default.

    ``balanced`` tells whether the server has several lanes: the settings of a file server are for
    such a server alone (R317, A4). Raises `CommandError` ``lserver.settings.invalid`` and
    ``lserver.settings.not-balanced``, with the field ``settings.NAME``.
    """
    described = settings_of(known.settings)
    found = {}
    for name, value in given.items():
        if name not in described:
            raise _refused(
                f"no setting of the type {known.name}",
                f"settings.{name}",
                value,
                ", ".join(described) or f"nothing: the type {known.name} has no settings",
            )
        setting = described[name]
        found[name] = _read(known, setting, value)
        if setting.balanced and not balanced and found[name] != setting.default:
            raise CommandError(
                "lserver.settings.not-balanced",
                "only a server of a load-balanced cluster has a file server",
                field=f"settings.{name}",
                value=str(value),
                allowed="nothing, while the server runs on one box",
                status=409,
            )
    return found


def _read(known: KnownType, setting: Setting, value: Any) -> Any:
    try:
        converted = msgspec.convert(
            {setting.name: setting.read(value)}, type=known.settings, strict=False
        )
        plain = json.loads(msgspec.json.encode(getattr(converted, setting.name)))
        if setting.addresses:
            plain = [str(ip_address(part)) for part in plain]
    except (msgspec.ValidationError, ValueError) as error:
        words = str(error).partition(" - at ")[0]
        raise _refused(words, f"settings.{setting.name}", value, setting.allowed) from error
    return plain


def _refused(words: str, field: str, value: Any, allowed: str) -> CommandError:
    return CommandError(
        "lserver.settings.invalid", words, field=field, value=str(value), allowed=allowed
    )


def merged(known: KnownType, present: Mapping[str, Any], read: Mapping[str, Any]) -> dict[str, Any]:
    """Give what is stored once ``read`` is set: only what differs from the default."""
    described = settings_of(known.settings)
    return {
        name: value
        for name, value in {**present, **read}.items()
        if name not in described or value != described[name].default
    }


async def check_references(tx: Transaction, known: KnownType, read: Mapping[str, Any]) -> None:
    """Check that what settings name is there, of the right group, and stays until the commit.

    Raises `CommandError` ``lserver.settings.unknown-server``.
    """
    for name, setting in settings_of(known.settings).items():
        wanted = read.get(name, LOCAL)
        if not setting.server_group or wanted == LOCAL:
            continue
        found = await tx.maybe(
            "SELECT group_name FROM logical_server WHERE name = %s FOR KEY SHARE", (wanted,)
        )
        if found is None or found[0] != setting.server_group:
            raise CommandError(
                "lserver.settings.unknown-server",
                "no logical server has this name"
                if found is None
                else f"{wanted} is of the group {found[0]}",
                field=f"settings.{name}",
                value=wanted,
                allowed=setting.allowed,
            )


async def references_to(tx: Transaction, server: str) -> list[Reference]:
    """Give the settings that name the logical server ``server``."""
    naming = {
        (known.name, name): setting
        for known in KNOWN_TYPES.values()
        for name, setting in settings_of(known.settings).items()
        if setting.server_group
    }
    found = await tx.rows(
        """SELECT s.name, s.service_type, e.key FROM logical_server s, jsonb_each(s.settings) e
           WHERE s.service_type = ANY(%s) AND e.key = ANY(%s) AND e.value = to_jsonb(%s::text)
           ORDER BY s.name, e.key""",
        ([key[0] for key in naming], [key[1] for key in naming], server),
    )
    return [
        Reference(name, key, naming[type_, key].title)
        for name, type_, key in found
        if (type_, key) in naming
    ]


def shown_settings(
    known: KnownType, stored: Mapping[str, Any], *, balanced: bool
) -> list[dict[str, Any]]:
    """Give every setting that can be set, with its value, its default and its help."""
    return [
        {
            "name": setting.name,
            "title": setting.title,
            "help": setting.help,
            "section": setting.section,
            "kind": setting.kind,
            "value": stored.get(setting.name, setting.default),
            "default": setting.default,
            "choices": dict(setting.choices),
            "minimum": setting.minimum,
            "maximum": setting.maximum,
            "server_group": setting.server_group or None,
        }
        for setting in settings_of(known.settings).values()
        if balanced or not setting.balanced
    ]
