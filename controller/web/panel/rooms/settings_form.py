"""The settings of a logical server as a form: made from what the command says of each of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from controller.web.panel.rooms.choices import Choices, servers_to_choose
from controller.web.panel.visits import Form, Visit

PREFIX = "settings."
"""Before the name of a setting; a refusal names its field in the same way."""


@attrs.frozen
class Input:
    """One field: a text, or a choice between ``choices``, pairs of a value and words for it."""

    field: str
    title: str
    hint: str
    choices: tuple[tuple[str, str], ...] = ()
    inputmode: str = ""
    offered: Choices | None = None
    """Logical servers, where the setting names one."""


@attrs.frozen
class Section:
    """Fields that belong together."""

    title: str
    inputs: tuple[Input, ...]


def settings_form(server: dict[str, Any], sent: Form | None = None) -> Form:
    """Give the form with the settings as they are, and the description.

    ``sent`` is one that is shown again: it may be of a part of the page alone.
    """
    values = {PREFIX + option["name"]: text_of(option["value"]) for option in server["options"]}
    form = Form.of(*values, "description", "to", description=server["description"], **values)
    return form if sent is None else attrs.evolve(sent, texts={**form.texts, **sent.texts})


def text_of(value: object) -> str:
    """Write a setting as a person types it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


async def settings_sections(visit: Visit, options: Sequence[dict[str, Any]]) -> list[Section]:
    """Give the sections of the form; a setting that names a server offers those of its group."""
    groups = {option["server_group"] for option in options} - {None}
    named = {group: await servers_to_choose(visit, group) for group in groups}
    sections: dict[str, list[Input]] = {}
    for option in options:
        sections.setdefault(option["section"], []).append(_input(option, named))
    return [Section(title, tuple(inputs)) for title, inputs in sections.items()]


def _input(option: dict[str, Any], named: Mapping[str, Choices]) -> Input:
    kind, value = option["kind"], text_of(option["value"])
    choices: list[tuple[str, str]] = []
    hint = option["help"]
    offered = None
    if kind == "switch":
        choices = [("false", "no"), ("true", "yes")]
    elif kind == "choice":
        choices = list(option["choices"].items())
    elif option["server_group"]:
        offered = named[option["server_group"]].along("LOCAL", value)
    elif kind == "number":
        hint = f"{hint} {option['minimum']} to {option['maximum']}; usually {option['default']}."
    return Input(
        PREFIX + option["name"],
        option["title"],
        hint,
        tuple(choices),
        "numeric" if kind == "number" else "",
        offered,
    )
