"""``hsctl change``: what was changed, by whom, and how far the boxes are with it."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from controller.hsctl import change_views, views
from controller.hsctl.terminal import told
from controller.hsctl.verbs import DEFAULT_TIMEOUT, follows, reads, session, writes
from controller.hsctl.waiting import follow

_DIGITS = 15
"""Of a number that a hazard is accepted by, at most."""


@click.group()
def change() -> None:
    """Changes: one for each write, with who, when, what, and every lane's state.

    \b
    hsctl change list
    hsctl change watch 17
    hsctl change undo 17 --dry-run
    hsctl change held
    """


@change.command("list")
@click.option("--actor", default="", metavar="WHO", help="Only of this one: operator:NAME.")
@click.option("--command", default="", metavar="NAME", help="Only of this command.")
@click.option("--object", "thing", default="", metavar="NAME", help="Only what touched this.")
@click.option("--since", default="", metavar="MOMENT", help="Not before it: 2026-01-31T12:00.")
@click.option("--until", default="", metavar="MOMENT", help="Before it only. UTC, or say a zone.")
@reads(
    "change.list",
    columns=("id", "at", "actor", "command", "about", "state", "reason"),
    paged=True,
    view=change_views.change_row,
    empty="no changes",
)
def list_changes(actor: str, command: str, thing: str, since: str, until: str) -> Mapping[str, Any]:
    """List the changes, the newest first.

    \b
    hsctl change list --limit 20
    hsctl change list --actor operator:admin --command record.set
    hsctl change list --object shop.test --since 2026-01-31
    """
    given = {"object": thing, "since": since, "until": until}
    return {"actor": actor, "command": command, **given}


@change.command()
@click.argument("id", type=click.IntRange(min=1))
@reads("change.show", view=change_views.change)
def show(id: int) -> Mapping[str, Any]:
    """Show a change: what it touched, before and after, and how far each lane is.

    \b
    hsctl change show 17 -o json
    """
    return {"id": id}


@change.command()
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=DEFAULT_TIMEOUT,
    show_default=True,
    metavar="SECONDS",
)
@follows("change.show")
def watch(id: int, timeout: float) -> int:
    """Wait until a change is live, also while a box is lost or a lane is held.

    The exit code is that of the write itself.

    \b
    hsctl change watch 17 --timeout 600
    """
    current = session()
    change = current.followed(id, "watched")
    return told(lambda: follow(current.client, change, timeout, patient=True))


@change.command()
@click.argument("id", type=click.IntRange(min=1))
@writes("change.undo", "change {id} undone", view=change_views.undone)
def undo(id: int) -> Mapping[str, Any]:
    """Undo a change: a new change writes back what was before, all of it or nothing.

    Refused where what it touched was changed again since, with the change that did it, and for
    what cannot be undone, with what to do instead. An undo can be undone.

    \b
    hsctl change undo 17 --dry-run
    hsctl change undo 17 --reason "wrong address"
    """
    return {"id": id}


@change.command()
@click.option("--ended", is_flag=True, help="Those too that were approved, withdrawn or expired.")
@reads(
    "change.held",
    columns=("id", "held_at", "asked_by", "command", "about", "hazards", "state"),
    paged=True,
    view=change_views.held_row,
    empty="no change is held back",
)
def held(*, ended: bool) -> Mapping[str, Any]:
    """List changes that are held back until somebody accepts their hazards.

    \b
    hsctl change held
    """
    return {"ended": ended}


@change.command("show-held")
@click.argument("id", type=click.IntRange(min=1))
@reads("change.show-held", view=change_views.held)
def show_held(id: int) -> Mapping[str, Any]:
    """Show a change that is held back: who asked for what, what it would do, its hazards.

    \b
    hsctl change show-held 3
    """
    return {"id": id}


def _accepted(
    context: click.Context, option: click.Parameter, given: Sequence[str]
) -> dict[str, int]:
    """Read hazards with their numbers."""
    found: dict[str, int] = {}
    for text in given:
        hazard, _, number = text.partition("=")
        if not hazard or not number.isdecimal() or len(number) > _DIGITS:
            raise click.BadParameter(
                f"{text!r} does not name a hazard and its number, as mass-delete=412 does",
                context,
                option,
            )
        found[hazard] = int(number)
    return found


@change.command()
@click.argument("id", type=click.IntRange(min=1))
@click.option(
    "--accept",
    multiple=True,
    callback=_accepted,
    metavar="HAZARD=NUMBER",
    help="A hazard that is accepted, with its number; once for each.",
)
@click.option("--shown", default="", help="The seal of the hazards as they were shown.")
@writes("change.approve", "held change {id} approved", view=views.plain)
def approve(id: int, accept: Mapping[str, int], shown: str) -> Mapping[str, Any]:
    """Approve a change that is held back: it is done now, as things are now.

    Each hazard is accepted by its id and number. Refused where one is another by now than was
    shown, with what it has become; nothing is written then.

    \b
    hsctl change approve 3 --accept mass-delete=412 --accept root-ns=412
    hsctl change approve 3 --dry-run
    """
    return {"id": id, "accept": accept, **({"shown": shown} if shown else {})}


@change.command()
@click.argument("id", type=click.IntRange(min=1))
@writes("change.withdraw", "held change {id} withdrawn", view=views.nothing)
def withdraw(id: int) -> Mapping[str, Any]:
    """Withdraw a change that is held back: nobody can approve it any more.

    \b
    hsctl change withdraw 3
    """
    return {"id": id}
