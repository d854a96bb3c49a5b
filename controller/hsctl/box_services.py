"""``hsctl pserver load|packages|services|service|log``: how a box is, asked of the box itself."""

from collections.abc import Mapping
from typing import Any

import click

from controller.client import exit_codes
from controller.hsctl import graphs, views
from controller.hsctl.verbs import reads, writes
from controller.hsctl.waiting import Verdict
from controller.printable import clean

_ACTIONS = ("start", "stop", "restart", "enable", "disable")
_CODES = {
    "done": exit_codes.DONE,
    "refused": exit_codes.NOT_APPLIED,
    "unknown": exit_codes.NOT_KNOWN_LIVE,
}


@click.command()
@click.argument("name")
@click.option(
    "--span",
    type=click.Choice(["hour", "day", "month"]),
    default="hour",
    show_default=True,
    help="How far back; a month is thirty days.",
)
@reads("pserver.load", view=graphs.load)
def load(name: str, span: str) -> Mapping[str, Any]:
    """Show how much of a box was in use: lowest, mean, highest and last, with a curve.

    \b
    hsctl pserver load web1
    hsctl pserver load web1 --span day -o json
    """
    return {"name": name, "span": span}


@click.command()
@click.argument("name")
@click.option("--search", metavar="TEXT", help="Only packages whose name contains this.")
@reads(
    "pserver.packages", columns=("name", "version"), paged=True, view=dict, empty="no such package"
)
def packages(name: str, search: str | None) -> Mapping[str, Any]:
    """List the packages that are installed on a box. The box is asked; nothing is kept.

    \b
    hsctl pserver packages web1 --search apache
    """
    return {"name": name, "search": search}


@click.command()
@click.argument("name")
@reads(
    "pserver.services",
    columns=("name", "state", "boots", "detail", "actions"),
    paged=True,
    empty="no services: name some in [services] of the box's grants.toml",
)
def services(name: str) -> Mapping[str, Any]:
    """List the services of a box that may be managed, with their state.

    These are the daemons of its logical servers, and the units that the box's owner has named in
    [services] of its grants.toml.

    \b
    hsctl pserver services web1
    """
    return {"name": name}


def _judged(answer: views.Answer) -> Verdict:
    state = answer.get("state")
    now = f", now {state['state']}" if isinstance(state, Mapping) else ""
    words = f"{answer['service']} on {answer['name']}: {answer['action']} {answer['outcome']}{now}"
    why = answer.get("message")
    code = _CODES.get(str(answer["outcome"]), exit_codes.NOT_KNOWN_LIVE)
    return Verdict(code, f"{words}: {why}" if why else words)


@click.command()
@click.argument("name")
@click.argument("service")
@click.argument("action", type=click.Choice(_ACTIONS))
@writes(
    "pserver.service", "{service} on {name}: {action} asked", view=views.nothing, judged=_judged
)
def service(name: str, service: str, action: str) -> Mapping[str, Any]:
    """Start, stop, restart, enable or disable a service of a box, and say what came of it.

    A stopped logical server is held: its changes wait until it is started again.

    \b
    hsctl pserver service web1 web1.example.net restart
    hsctl pserver service web1 cron stop --reason 'runs away'
    """
    return {"name": name, "service": service, "action": action}


def _print_lines(answer: views.Answer) -> None:
    for line in answer["lines"]:
        click.echo(clean(str(line)))


@click.command()
@click.argument("name")
@click.argument("service")
@click.option(
    "--lines", type=click.IntRange(1, 1000), default=100, show_default=True, help="How many."
)
@reads("pserver.log", printed=_print_lines)
def log(name: str, service: str, lines: int) -> Mapping[str, Any]:
    """Show the last lines that a service of a box logged.

    \b
    hsctl pserver log web1 web1.example.net --lines 20
    """
    return {"name": name, "service": service, "lines": lines}


VERBS = (load, packages, services, service, log)
