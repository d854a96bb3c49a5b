"""What an enrolment over SSH is asked to do, and how it can end: plain records."""

from typing import Literal

import attrs

Step = Literal["connect", "host-key", "log-in", "look", "install", "enrol", "start"]
STEPS: tuple[Step, ...] = (
    "connect",
    "host-key",
    "log-in",
    "look",
    "install",
    "enrol",
    "start",
)
MEANINGS: dict[Step, str] = {
    "connect": "Reach the SSH server",
    "host-key": "Compare its host key",
    "log-in": "Log in",
    "look": "Look what is there",
    "install": "Install the agent",
    "enrol": "Enrol the box",
    "start": "Start the agent",
}

Reason = Literal[
    "no-connection",
    "host-key-unknown",
    "host-key-changed",
    "wrong-password",
    "not-root",
    "not-linux",
    "already-enrolled",
    "install-failed",
    "enrol-failed",
    "start-failed",
    "timeout",
    "connection-lost",
    "interrupted",
    "error",
]
"""Why an enrolment over SSH failed."""

StepState = Literal["running", "done", "skipped", "failed"]


@attrs.frozen
class SshJob:
    """One enrolment over SSH.

    ``host_key`` is the fingerprint that the server must show (``SHA256:...``); with none, the
    connection ends before the login and tells what it showed. ``anew`` goes on where the box is
    enrolled already. ``token`` goes to the box by its program's standard input.
    """

    id: int
    box: str
    box_name: str
    login: str
    host: str
    port: int
    host_key: str
    anew: bool
    install: str
    """The line that installs the agent, as `pserver.add` shows it."""
    enrolment_endpoint: str
    """``HOST:PORT`` where boxes enrol."""
    token: str = attrs.field(repr=False)
    password: str = attrs.field(repr=False)


class SshFailedError(Exception):
    """The enrolment came to nothing; ``args[0]`` says why to a person, ``reason`` to a program."""

    def __init__(self, reason: Reason, message: str, *, host_key: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.host_key = host_key


@attrs.frozen
class StepTold:
    """How far a step is."""

    step: Step
    state: StepState
    words: str = ""


RUN_SECONDS = 900
"""A run that is not over after so long was stopped with its controller."""
