"""``hsctl model``: the cluster's model as a file."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from controller.client.errors import RefusedError, UsageError
from controller.cluster.model import file as model_file
from controller.hsctl.terminal import print_json, say
from controller.hsctl.verbs import Output, output_option, session, writes


@click.group()
def model() -> None:
    """The cluster's model as a file: boxes, logical servers, settings, addresses.

    Everything in it is named as the commands name it. What customers own is not part of it, nor is
    any secret.

    \b
    hsctl model export cluster.toml
    hsctl model import cluster.toml --dry-run
    """


@model.command("export")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), default=Path("-"))
@output_option
def export_model(file: Path, output: Output) -> None:
    """Write the model to FILE, or show it. An existing file is replaced.

    \b
    hsctl model export
    hsctl model export cluster.toml
    hsctl model export -o json
    """
    answer = session().client.read("model.export", {})
    if str(file) == "-":
        if output == "json":
            print_json(answer)
        else:
            click.echo(model_file.written(answer), nl=False)
        return
    text = f"{json.dumps(answer, indent=2)}\n" if output == "json" else model_file.written(answer)
    try:
        file.write_text(text)
    except OSError as error:
        raise RefusedError(f"refused: {file}: {error.strerror}") from error
    say(f"written: {file}")


setattr(export_model.callback, "__hsctl_command__", "model.export")  # noqa: B010


def read(file: Path) -> dict[str, Any]:
    """Read a model: TOML, or JSON where it begins so. Raises `UsageError`."""
    try:
        return model_file.parsed(sys.stdin.read() if str(file) == "-" else file.read_text())
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    except ValueError as error:  # not JSON, not TOML, not UTF-8
        raise UsageError(f"{file}: {error}") from error


def imported(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Give what an import did, or would do."""
    shown: dict[str, Any] = {}
    if not answer.get("steps"):
        shown["steps"] = "none: the cluster has all of it"
    for name in ("steps", "enrolment"):
        if answer.get(name):
            shown[name] = answer[name]
    if answer.get("left"):
        shown["not_in_the_file"] = answer["left"]
    if answer.get("warnings"):
        shown["warnings"] = answer["warnings"]
    return shown


@model.command("import")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--prune", is_flag=True, help="Remove what FILE does not have.")
@writes("model.import", "model imported", view=imported)
def import_model(file: Path, prune: bool) -> Mapping[str, Any]:
    """Make the cluster have all that FILE says, all or nothing; a dash reads standard input.

    What is missing is added, what differs is changed. What FILE does not have stays, and is listed,
    unless --prune. New boxes are shown with the lines that enrol them, this once.

    \b
    hsctl model import cluster.toml --dry-run
    hsctl model import cluster.toml --reason "ticket 4711"
    """
    return {"model": read(file), "prune": prune}
