"""``hsctl audit``: proving that no change was altered, taken out or written anew."""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from controller.client.client import Client
from controller.client.errors import RefusedError, UsageError
from controller.hsctl.terminal import print_json, print_record, say
from controller.hsctl.verbs import Output, output_option, session

_PAGE = 1000
_LOGGED = re.compile(r"audit head ([1-9][0-9]{0,17}) ([0-9a-f]{64})\s*$")
"""As the controller's log has it."""


@click.group()
def audit() -> None:
    """Prove the audit: every change, hashed into a chain. `hsctl change list` searches it.

    \b
    hsctl audit verify
    hsctl audit verify --anchors /mnt/other-host/audit-anchors
    """


@audit.command()
@click.option(
    "--anchors",
    "file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Noted heads that are kept elsewhere: a copy of the controller's file, or its log.",
)
@output_option
def verify(file: Path | None, output: Output) -> None:
    """Compute the chain anew from the first change to the last, and name the first broken link.

    Its head is noted outside of the database once a minute, so a chain whose end was cut off, or
    that was written anew, shows too. Whoever holds the controller's host as well can forge those
    notes: keep a copy elsewhere, and compare with it by --anchors. Exits with 1 if anything is
    wrong.

    \b
    hsctl audit verify
    hsctl audit verify -o json
    """
    own = {} if file is None else noted(file)
    answer = _walk(session().client, own)
    if output == "json":
        print_json(answer)
    else:
        print_record(_shown(answer))
    if answer["finding"] is not None:
        raise RefusedError(f"the audit does not hold: {answer['finding']['what']}")


setattr(verify.callback, "__hsctl_command__", "audit.verify")  # noqa: B010 (as the decorators do)


def noted(file: Path) -> dict[int, str]:
    """Read heads that were kept elsewhere, as hashes by number; raises `UsageError`."""
    from controller.storage.anchors import parse_notes

    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from error
    logged = [found for line in lines if (found := _LOGGED.search(line))]
    own = {one.seq: one.hash for one in parse_notes(lines).standing}
    own |= {int(found[1]): found[2] for found in logged}
    if not own:
        raise UsageError(f"{file}: no noted head of an audit is in it")
    return own


def _walk(client: Client, own: Mapping[int, str]) -> dict[str, Any]:
    """Ask page after page; stop at the first finding. The answer sums the pages up."""
    checked, head, cursor = 0, 0, ""
    compared = 0
    while True:
        through = max((seq for seq in own if head < seq <= head + _PAGE), default=0)
        asked = {"limit": _PAGE, "cursor": cursor, "through": through}
        answer: dict[str, Any] = client.read("audit.verify", asked)
        checked += answer["checked"]
        head = answer["through"]
        finding = answer["finding"]
        if finding is None and head in own:
            compared += 1
            if own[head] != answer["hash"]:
                finding = _rewritten(head, own[head], answer["hash"])
        cursor = answer["next"] or ""
        _progress(checked, answer["newest"], ended=not cursor or finding is not None)
        if finding is None and not cursor and own and max(own) > head:
            finding = _truncated(head, max(own))
        if finding is not None or not cursor:
            kept = {name: answer[name] for name in ("through", "hash", "unsealed", "anchors")}
            elsewhere = {"elsewhere": {"count": len(own), "compared": compared}} if own else {}
            return {"checked": checked, **kept, **elsewhere, "finding": finding}


def _rewritten(seq: int, expected: str, found: str) -> dict[str, Any]:
    what = f"the chain was written anew: change {seq} has another hash than was kept elsewhere"
    return _finding("rewritten", seq, what, expected, found)


def _truncated(head: int, seq: int) -> dict[str, Any]:
    what = f"changes {head + 1} to {seq} at least were removed: {seq} is known elsewhere"
    return _finding("truncated", head + 1, what, str(seq), str(head))


def _finding(kind: str, seq: int, what: str, expected: str, found: str) -> dict[str, Any]:
    words = {"kind": kind, "seq": seq, "id": None, "what": what}
    return {**words, "expected": expected, "found": found}


def _progress(checked: int, newest: int, *, ended: bool) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{checked} of {newest} changes", err=True, nl=ended)
    elif not ended and checked % (100 * _PAGE) == 0:
        say(f"{checked} of {newest} changes")


def _shown(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Give the outcome in words."""
    anchors = answer["anchors"]
    shown: dict[str, Any] = {
        "verified": f"{answer['checked']} changes, to number {answer['through']}",
        "head": answer["hash"] or None,
        "not_sealed_yet": answer["unsealed"],
        "noted_outside": f"{anchors['count']} times, last number {anchors['newest']} at"
        f" {anchors['newest_at']}"
        if anchors["count"]
        else "not yet",
    }
    if anchors["set_aside"]:
        shown["set_aside_by_a_restore"] = anchors["set_aside"]
    if anchors["unreadable"]:
        shown["unreadable_notes"] = anchors["unreadable"]
    if "elsewhere" in answer:
        kept = answer["elsewhere"]
        shown["kept_elsewhere"] = f"{kept['count']} heads, {kept['compared']} compared"
    if answer["finding"] is not None:
        shown["first_broken_link"] = answer["finding"]["seq"]
        shown["kind"] = answer["finding"]["kind"]
    return shown
