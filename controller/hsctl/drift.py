"""``hsctl drift``: files that somebody else changed on a box."""

from collections.abc import Mapping
from typing import Any

import click

from controller.client import exit_codes
from controller.hsctl import views
from controller.hsctl.verbs import confirm, reads, session, writes
from controller.hsctl.waiting import Verdict
from controller.printable import clean
from controller.sentences import counted

FEW = 5
"""Files that are brought back without a question."""
_COLOURS = {"-": "red", "+": "green", "@": "cyan"}

_box = click.option("--pserver", metavar="BOX", help="Only on this box of a balanced server.")


@click.group()
def drift() -> None:
    """Drift: files that Heliosphere wrote and somebody else changed.

    \b
    hsctl drift list
    hsctl drift show ns1.example.net named.conf
    hsctl drift repair ns1.example.net
    """


@drift.command("list")
@click.argument("lserver", required=False, default="")
@click.option("--pserver", metavar="BOX", default="", help="Only on this box.")
@reads(
    "drift.list",
    columns=("box", "logical_server", "path", "what", "words", "since"),
    paged=True,
    view=dict,
    empty="no drift: all files are as they were written",
)
def list_drift(lserver: str, pserver: str) -> Mapping[str, Any]:
    """List files that are not as they were written.

    \b
    hsctl drift list
    hsctl drift list ns1.example.net
    """
    return {"lserver": lserver, "pserver": pserver}


@drift.command("status")
@click.argument("lserver")
@reads("drift.lanes")
def status(lserver: str) -> Mapping[str, Any]:
    """Show the policy of a logical server, and when its files were last verified.

    \b
    hsctl drift status ns1.example.net
    """
    return {"name": lserver}


def _print_difference(answer: views.Answer) -> None:
    click.echo(clean(f"{answer['path']} on {answer['box']}: {answer['words']}"))
    for line in answer["lines"]:
        click.secho(clean(str(line)), fg=_COLOURS.get(str(line)[:1]))
    if answer["cut"]:
        click.echo("... and more")


@drift.command("show")
@click.argument("lserver")
@click.argument("path")
@_box
@reads("drift.show", printed=_print_difference)
def show_difference(lserver: str, path: str, pserver: str | None) -> Mapping[str, Any]:
    """Show how a file differs: - is on the box, + is what would be written.

    The box is asked. Keys and passwords are taken out before they leave it.

    \b
    hsctl drift show ns1.example.net named.conf
    """
    return {"name": lserver, "path": path, "pserver": pserver}


def _verified(answer: views.Answer) -> Verdict:
    words = ", ".join(
        f"{each['box']}: {each['drifted']} of {each['files']} files drifted"
        + ("" if each["ended"] else " so far; the box goes on")
        for each in answer["boxes"]
    )
    return Verdict(exit_codes.DONE, f"{answer['name']} verified. {words}")


@drift.command()
@click.argument("lserver")
@_box
@writes("drift.verify", "{lserver} verified", view=views.nothing, judged=_verified)
def verify(lserver: str, pserver: str | None) -> Mapping[str, Any]:
    """Have the boxes look at all files of a logical server now. Nothing is touched.

    \b
    hsctl drift verify ns1.example.net
    """
    return {"name": lserver, "pserver": pserver}


def _print_preview(answer: views.Answer) -> None:
    for box in answer["boxes"]:
        reload = "; the daemon reloads" if box["reload"] else ""
        files = counted(box["total"], "file", "files")
        click.echo(clean(f"{box['box']}: {files} would be brought back{reload}"))
        for each in box["files"]:
            click.echo(clean(f"  {each['path']}"))


@drift.command()
@click.argument("lserver")
@click.argument("path", required=False, default="")
@_box
@reads("drift.preview", printed=_print_preview)
def preview(lserver: str, path: str, pserver: str | None) -> Mapping[str, Any]:
    """Show what a repair would bring back, as the boxes see it. Nothing is touched.

    \b
    hsctl drift preview ns1.example.net
    """
    return {"name": lserver, "path": path, "pserver": pserver}


def _repaired(answer: views.Answer) -> Verdict:
    files = [each for box in answer["boxes"] for each in box["files"]]
    refused = [each for each in files if each["outcome"] == "refused"]
    silent = [each for each in answer["boxes"] if each["outcome"] != "done" and not each["files"]]
    done = sum(box["total"] for box in answer["boxes"]) - len(refused)
    words = f"{answer['name']}: {counted(done, 'file', 'files')} brought back"
    for each in refused[:FEW]:
        words += f"; {each['path']} refused: {each['message']}"
    for each in silent:
        words += f"; {each['box']} {each['outcome']}: {each['message']}"
    if any(each["outcome"] == "unknown" for each in silent):
        return Verdict(exit_codes.NOT_KNOWN_LIVE, words)
    return Verdict(exit_codes.NOT_APPLIED if refused or silent else exit_codes.DONE, words)


@drift.command()
@click.argument("lserver")
@click.argument("path", required=False, default="")
@_box
@click.option("-y", "--yes", is_flag=True, help="Do not ask, however many files there are.")
@writes("drift.repair", "{lserver} repaired", judged=_repaired, view=views.nothing)
def repair(lserver: str, path: str, pserver: str | None, yes: bool) -> Mapping[str, Any]:
    """Bring back what somebody changed: one file, or all that is found.

    With a PATH: this file, and what else was changed in the same part of the configuration. It goes
    the way of every change: checked before it is swapped in, probed after it.

    \b
    hsctl drift repair ns1.example.net named.conf
    hsctl drift repair ns1.example.net --dry-run
    hsctl drift repair ns1.example.net --yes
    """
    fields = {"name": lserver, "path": path, "pserver": pserver}
    if not (yes or path or click.get_current_context().params.get("dry_run")):
        would = session().client.read("drift.preview", fields)
        total = sum(each["total"] for each in would["boxes"])
        if total > FEW:
            confirm(f"Bring back {total} files of {lserver}?", yes)
    return fields
