"""What people decide of a box after it was added: its fields and its intent."""

from typing import Any

import attrs

from controller.cluster.addresses import addresses
from controller.cluster.boxes.boxes import find_box, operating_system
from controller.cluster.boxes.intents import intent
from controller.cluster.free_text import text_line
from controller.cluster.rules.guard import watch
from controller.cluster.servers import groups
from controller.commands import Command, Work
from controller.refusal import CommandError


@attrs.frozen
class EditBox:
    """Fields of a box to change; what is left out stays (R238, R243).

    ``groups`` replaces all of them. A new ``ip`` keeps the length of the mask unless ``mask`` is
    given too.
    """

    name: str
    ip: str | None = None
    mask: str | None = None
    os_family: str | None = None
    groups: tuple[str, ...] | None = None
    description: str | None = None


@attrs.frozen
class SetIntent:
    """What people want of a box: ``open``, ``no-signup``, ``draining``, ``maintenance``."""

    name: str
    intent: str


@attrs.frozen
class _Fields:
    ip: str
    prefix: int
    os_family: str
    groups: tuple[str, ...]
    description: str


async def edit(work: Work, request: EditBox) -> dict[str, Any]:
    """Change fields of a box. Refused where what is on it could not stay there (R244)."""
    box = await find_box(work.tx, request.name)
    guard = await watch(work.tx, boxes=[box.id])
    found = await work.tx.lock(
        """SELECT host(address), masklen(address), os_family, groups, description
           FROM box WHERE id = %s FOR NO KEY UPDATE""",
        (box.id,),
    )
    before = _Fields(found[0], found[1], found[2], tuple(found[3]), found[4])
    after = _edited(before, request)
    changed = {
        name: value
        for name, value in attrs.asdict(after).items()
        if value != attrs.asdict(before)[name]
    }
    warnings: list[str] = []
    if changed:
        await work.tx.run(
            """UPDATE box SET address = %s::inet, os_family = %s, groups = %s, description = %s,
                      version = version + 1 WHERE id = %s""",
            (
                f"{after.ip}/{after.prefix}",
                after.os_family,
                list(after.groups),
                after.description,
                box.id,
            ),
        )
        try:
            warnings = await guard.check(work.tx)
        except CommandError as error:
            # What is at fault here is what was given for the box, not where a server was put.
            field = "os_family" if "os_family" in changed and "groups" not in changed else "groups"
            raise attrs.evolve(error, field=field) from error
        work.change.row(
            "box", box.name, {name: attrs.asdict(before)[name] for name in changed}, changed
        )
    return {"name": box.name, **attrs.asdict(after), "warnings": warnings}


def _edited(before: _Fields, request: EditBox) -> _Fields:
    """Give the fields as they shall be; raises `CommandError` for one that cannot be."""
    address = addresses.address(request.ip if request.ip is not None else before.ip)
    mask = request.mask if request.mask is not None else str(before.prefix)
    description = request.description if request.description is not None else before.description
    return _Fields(
        ip=str(address),
        prefix=addresses.prefix_length(mask, address),
        os_family=operating_system(
            request.os_family if request.os_family is not None else before.os_family
        ),
        groups=before.groups if request.groups is None else tuple(groups.groups(request.groups)),
        description=text_line(description, field="description", most=500),
    )


async def set_intent(work: Work, request: SetIntent) -> dict[str, Any]:
    """Say what is wanted of a box. What is on it stays; a box in maintenance gets no changes."""
    wanted = intent(request.intent)
    box = await find_box(work.tx, request.name)
    guard = await watch(work.tx, boxes=[box.id])
    (before, retired) = await work.tx.lock(
        "SELECT intent, retired_at IS NOT NULL FROM box WHERE id = %s FOR NO KEY UPDATE",
        (box.id,),
    )
    if retired:
        raise CommandError(
            "pserver.retired",
            "the box was retired: it is gone",
            field="name",
            value=box.name,
            allowed=f"hsctl pserver enroll {box.name}, if a new machine takes its place",
            status=409,
        )
    warnings: list[str] = []
    if wanted.word != before:
        await work.tx.run(
            "UPDATE box SET intent = %s, version = version + 1 WHERE id = %s",
            (wanted.word, box.id),
        )
        warnings = await guard.check(work.tx)
        work.change.row("box", box.name, {"intent": before}, {"intent": wanted.word})
    return {
        "name": box.name,
        "intent": wanted.word,
        "meaning": wanted.meaning,
        "warnings": warnings,
    }


COMMANDS: tuple[Command[Any], ...] = (
    Command(
        "pserver.edit",
        "PATCH",
        "/pservers/{name}",
        EditBox,
        "provider.write",
        "Change fields of a physical server",
        edit,
        "Refused where a logical server on it needs a group or system that it would lose.",
    ),
    Command(
        "pserver.intent",
        "PUT",
        "/pservers/{name}/intent",
        SetIntent,
        "provider.write",
        "Say what is wanted of a physical server",
        set_intent,
        "open, no-signup, draining or maintenance.",
    ),
)
