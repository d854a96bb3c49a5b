"""What of the documentation is made from the code, and the checks on all of it.

``script/docs`` writes the pages in ``docs/reference``; ``script/docs --check`` says what is stale
and which links lead nowhere. Ends with 1 if it finds anything.
"""

import difflib
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from unittest import mock

import click
import msgspec

import controller.main
import node_agent.main
import pki.main
from controller.client import exit_codes
from controller.cluster.ports import FleetPort
from controller.cluster.rules.book import RULES
from controller.cluster.rules.requests import REQUEST_RULES
from controller.cluster.undo_table import DECISIONS
from controller.hazards import HAZARDS
from controller.hsctl.main import main as hsctl
from controller.registry import EnrolmentInfo, build_registry
from controller.storage.secrets import Secrets
from controller.web.openapi import document

TREE = Path(__file__).resolve().parents[1]
REFERENCE = TREE / "docs" / "reference"
_MADE = "<!-- Made by script/docs: do not edit. -->\n"
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_TEST = re.compile(r"`(test_\w+)`")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def commands(
    command: click.Command, name: str, above: click.Context | None = None
) -> Iterator[tuple[str, str]]:
    """Give (words, help) of a command and of all below it."""
    settings = {**command.context_settings, "terminal_width": 96, "max_content_width": 96}
    context = click.Context(command, parent=above, info_name=name, **settings)
    if command.hidden:
        return
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for word in command.list_commands(context):
            below = command.get_command(context, word)
            if below is not None:
                yield from commands(below, word, context)


def help_page(title: str, *programs: tuple[click.Command, str]) -> str:
    """Write the help of programs, command by command."""
    parts = [f"# {title}\n", _MADE]
    for program, name in programs:
        for words, text in commands(program, name):
            clean = "\n".join(line.rstrip() for line in text.splitlines())
            parts.append(f"## {words}\n\n```\n{clean}\n```\n")
    return "\n".join(parts)


def api() -> str:
    """Write the API's OpenAPI document. Only descriptions are asked for: nothing is called."""
    registry = build_registry(
        EnrolmentInfo("controller.example.net", 8445, "00" * 32),
        time.time,
        fleet=cast(FleetPort, mock.sentinel.fleet),
        secrets=cast(Secrets, mock.sentinel.secrets),
    )
    encoded = msgspec.json.encode(document(registry, "1"))
    return json.dumps(json.loads(encoded), indent=1, ensure_ascii=False) + "\n"


def rules_page() -> str:
    """Write the table of the cluster's rules."""
    rows = "".join(
        f"| `{rule.id}` | {rule.severity} | {rule.reason} | {', '.join(rule.sources)} |\n"
        for rule in RULES
    )
    requests = "".join(
        f"| `{rule.id}` | {rule.reason} | {', '.join(rule.sources)} |\n" for rule in REQUEST_RULES
    )
    return f"""# The rules of the cluster

{_MADE}
*refuse*: no command may make a new breach; what was broken before stands in nobody's way. *warn*:
a dry run and the answer of a command say it. `hsctl health` and the panel's Health page show every
breach of either kind, with the command that repairs it.

| rule | a command would | why it matters | from |
|---|---|---|---|
{rows}
## Rules of single requests

They are refused by what is asked; no model can break them, so health has nothing to look for.

| rule | why it matters | from |
|---|---|---|
{requests}"""


def undo_page() -> str:
    """Write the table of what can be undone."""
    undone = "".join(
        f"| `{name}` | {told.words} |\n"
        for name, told in sorted(DECISIONS.items())
        if told.undoable
    )
    others = "".join(
        f"| `{name}` | {told.words} | {told.instead} |\n"
        for name, told in sorted(DECISIONS.items())
        if not told.undoable
    )
    return f"""# What can be undone

{_MADE}
An undo ([how it works](../operators/history.md)) is exact or it is refused: what was changed again
since is never overwritten.

| a change by | undone, |
|---|---|
{undone}
These are never undone; what the system notes of itself is not either.

| a change by | why not | instead |
|---|---|---|
{others}"""


def hazards_page() -> str:
    """Write the table of hazards."""
    rows = "".join(
        f"| `{rule.id}` | {rule.counts} | {rule.reason} | {', '.join(rule.sources)} |\n"
        for rule in HAZARDS
    )
    return f"""# Hazards

{_MADE}
A change that meets one of these is [held back](../operators/held-changes.md) until somebody accepts
it, by its id and its number.

| hazard | its number counts | why it is held | from |
|---|---|---|---|
{rows}"""


def made() -> dict[Path, str]:
    """Give every page that is made from the code."""
    others = (
        (controller.main.main, "hs-controller"),
        (node_agent.main.main, "hs-agent"),
        (pki.main.cli, "hs-ca"),
    )
    return {
        REFERENCE / "hsctl.md": help_page("hsctl", (hsctl, "hsctl")),
        REFERENCE / "programs.md": help_page("hs-controller, hs-agent and hs-ca", *others),
        REFERENCE / "api.json": api(),
        REFERENCE / "rules.md": rules_page(),
        REFERENCE / "undo.md": undo_page(),
        REFERENCE / "hazards.md": hazards_page(),
    }


def stale() -> Iterator[str]:
    """Tell which made pages are not as the code is, with the first lines that differ."""
    for path, text in made().items():
        found = path.read_text() if path.exists() else ""
        if found != text:
            changes = difflib.unified_diff(found.splitlines(), text.splitlines(), lineterm="", n=0)
            shown = "\n".join(list(changes)[:12])
            yield f"{path.relative_to(TREE)} is stale: run script/docs\n{shown}"
    page = (REFERENCE / "exit-codes.md").read_text()
    for code, meaning in exit_codes.MEANINGS.items():
        if f"| {code} | {meaning} |" not in page:
            yield f"docs/reference/exit-codes.md does not say: {code} {meaning}"


def anchors(page: Path) -> set[str]:
    """Give the anchors of a page's headings, as GitHub makes them."""
    headings = _HEADING.findall(_FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def broken_links(pages: list[Path]) -> Iterator[str]:
    """Tell which links of pages lead to no file or no heading. The web is not asked."""
    for page in pages:
        for target in _LINK.findall(_FENCE.sub("", page.read_text())):
            if re.match(r"[a-z]+:", target):
                continue
            file, _, anchor = target.partition("#")
            other = (page.parent / file).resolve() if file else page
            if not other.exists():
                yield f"{page.relative_to(TREE)}: {target} leads nowhere"
            elif anchor and anchor not in anchors(other):
                yield f"{page.relative_to(TREE)}: {target}: there is no such heading"


def missing_tests(page: Path) -> Iterator[str]:
    """Tell which tests a page names that are not there (any more)."""
    known = {
        name
        for file in (TREE / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    for name in _TEST.findall(page.read_text()):
        if name not in known:
            yield f"{page.relative_to(TREE)}: there is no test {name}"


def pages_of(tree: Path) -> list[Path]:
    """Give every page of the documentation."""
    return [*sorted(tree.glob("*.md")), *sorted((tree / "docs").rglob("*.md"))]


def main(arguments: list[str]) -> int:
    """Write the made pages, or with ``--check`` only look; then check the links."""
    faults = list(stale()) if "--check" in arguments else []
    if "--check" not in arguments:
        REFERENCE.mkdir(exist_ok=True)
        for path, text in made().items():
            path.write_text(text)
    faults += broken_links(pages_of(TREE))
    faults += missing_tests(TREE / "docs" / "threat-model.md")
    sys.stderr.write("".join(f"{fault}\n" for fault in faults))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
