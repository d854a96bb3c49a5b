"""Enrolling a box over SSH from the command line: the password, the host key, the steps."""

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from controller.client import exit_codes
from controller.client.errors import UsageError
from controller.hsctl import displays
from controller.hsctl.terminal import say
from controller.hsctl.verbs import session

Fields = Mapping[str, Any]

_POLL = 0.5
_TIMEOUT = 1000.0


def password_for(ssh: str, *, stdin: bool) -> str:
    """Ask for the password, or read it from standard input; raises `UsageError`."""
    if stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise UsageError("nobody is there to ask for the password: say --password-stdin")
    text: str = click.prompt(f"Password of {ssh} (used once)", hide_input=True, err=True)
    return text


def follow_enrolment(
    fields: Fields,
    *,
    now: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> int:
    """Follow an enrolment over SSH step by step; give the exit code.

    Where the host key is not known and a person is there, the fingerprint is shown and confirmed,
    and the enrolment begins anew with it.
    """
    if not fields.get("ssh"):
        return exit_codes.DONE
    name = str(fields["name"])
    try:
        ended = _end_of(name, now, pause)
        if ended["reason"] == "host-key-unknown" and sys.stdin.isatty():
            say(f"{ended['host']} shows the host key {ended['host_key']}")
            click.confirm("Is that the box's own?", abort=True, err=True)
            again = {**fields, "host_key": ended["host_key"]}
            session().client.write("pserver.enroll", again)
            ended = _end_of(name, now, pause)
    except KeyboardInterrupt:
        displays.settle("moving", f"it goes on; see hsctl pserver enrolment {name}")
        return exit_codes.NOT_KNOWN_LIVE
    if ended["state"] == "done":
        displays.settle("good", f"{name}: {ended['message']}")
        return exit_codes.DONE
    if ended["state"] == "running":
        displays.settle("stuck", f"{name}: still under way; hsctl pserver enrolment {name}")
        return exit_codes.NOT_KNOWN_LIVE
    displays.settle("bad", f"{name} is not enrolled ({ended['reason']}): {ended['message']}")
    return exit_codes.NOT_APPLIED


def _end_of(
    name: str, now: Callable[[], float], pause: Callable[[float], None]
) -> Mapping[str, Any]:
    told: set[tuple[str, str]] = set()
    until = now() + _TIMEOUT
    while True:
        state: Mapping[str, Any] = session().client.read("pserver.enrolment", {"name": name})
        for step in state["steps"]:
            if step["state"] in ("done", "skipped") and (step["step"], step["state"]) not in told:
                told.add((step["step"], step["state"]))
                words = f": {step['message']}" if step["message"] else ""
                say(f"  {step['words']}{words}")
        if state["state"] != "running" or now() >= until:
            return state
        pause(_POLL)
