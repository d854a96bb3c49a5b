"""The steps on the box, once somebody is logged in: look, install, enrol, start.

What a box answers is a stranger's word (S8): it is bounded, cleaned and only ever shown.
"""

import shlex
from collections.abc import Awaitable, Callable
from typing import Protocol

import attrs

from controller.bootstrap.job import Reason, SshFailedError, SshJob, Step, StepTold

MOST_OUTPUT = 64 * 1024
"""Bytes kept of what a program on the box says; the rest is read and dropped."""
_SHOWN = 400


@attrs.frozen
class Ended:
    """How a program on the box ended: its exit status (None where it has none) and its output."""

    status: int | None
    output: str

    @property
    def last_words(self) -> str:
        """The last line that says something, as it may be shown."""
        lines = [line.strip() for line in self.output.splitlines() if line.strip()]
        return shown(lines[-1]) if lines else "it said nothing"


class Login(Protocol):
    """A session on the box."""

    async def run(self, command: str, *, given: str = "", seconds: float) -> Ended:
        """Run a command line of the box's shell, ``given`` as its standard input.

        Raises `SshFailedError` where it takes longer than ``seconds`` or the connection is lost.
        """
        ...


@attrs.frozen
class Preparation:
    """How a box with the agent's package is arranged, and how long each step may take (seconds)."""

    program: str = "hs-agent"
    certificate: str = "/var/lib/heliosphere/agent/certificate.pem"
    stop: str = "systemctl stop heliosphere-agent"
    start: str = "systemctl enable heliosphere-agent && systemctl restart heliosphere-agent"
    look_seconds: float = 30.0
    install_seconds: float = 480.0
    enrol_seconds: float = 90.0
    start_seconds: float = 90.0


def shown(text: str) -> str:
    """Give a stranger's text as it may be stored and shown: one line, bounded, no controls."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return clean if len(clean) <= _SHOWN else clean[:_SHOWN] + "..."


def look_line(preparation: Preparation) -> str:
    """Give the command line that says who we are, what system it is, and what is there."""
    return (
        "id -u; uname -s; "
        f"if command -v {shlex.quote(preparation.program)} >/dev/null 2>&1; "
        "then echo program; else echo none; fi; "
        f"if test -s {shlex.quote(preparation.certificate)}; then echo enrolled; else echo new; fi"
    )


@attrs.frozen
class Looked:
    """What is on the box."""

    has_program: bool
    enrolled: bool


def judge_look(ended: Ended, job: SshJob) -> Looked:
    """Read what `look_line` printed; raises `SshFailedError` where the box cannot be enrolled."""
    lines = [line.strip() for line in ended.output.splitlines() if line.strip()][-4:]
    if ended.status != 0 or len(lines) != 4:
        raise SshFailedError("not-linux", f"the box has no shell that we know: {ended.last_words}")
    user, system, program, enrolled = lines
    if user != "0":
        raise SshFailedError(
            "not-root", f"{job.login} is not root there: log in as root (only root may install)"
        )
    if system != "Linux":
        raise SshFailedError(
            "not-linux", f"the box runs {shown(system)}; over SSH the agent goes to Linux only"
        )
    if enrolled == "enrolled" and not job.anew:
        raise SshFailedError(
            "already-enrolled",
            "an agent is enrolled there already; say --anew (in the panel: enrol anew) to give it"
            " a new certificate for this box",
        )
    return Looked(program == "program", enrolled == "enrolled")


async def prepare_box(
    login: Login,
    job: SshJob,
    preparation: Preparation,
    tell: Callable[[StepTold], Awaitable[None]],
) -> None:
    """Take all steps on the box; raises `SshFailedError`. Each can be taken again."""
    await tell(StepTold("look", "running"))
    ended = await login.run(look_line(preparation), seconds=preparation.look_seconds)
    found = judge_look(ended, job)
    await tell(StepTold("look", "done", "Linux, as root"))

    if found.has_program:
        await tell(StepTold("install", "skipped", "the agent is installed already"))
    else:
        await tell(StepTold("install", "running"))
        ended = await login.run(f"({job.install}) 2>&1", seconds=preparation.install_seconds)
        await _settle("install", "install-failed", ended, tell, "installed")

    await tell(StepTold("enrol", "running"))
    if found.enrolled:
        # A running agent holds its state; without one there is nothing to stop.
        await login.run(f"({preparation.stop}) 2>&1", seconds=preparation.start_seconds)
    enrol = (
        f"{shlex.quote(preparation.program)} enrol"
        f" --controller {shlex.quote(job.enrolment_endpoint)} - 2>&1"
    )
    ended = await login.run(enrol, given=f"{job.token}\n", seconds=preparation.enrol_seconds)
    await _settle("enrol", "enrol-failed", ended, tell, ended.last_words)

    await tell(StepTold("start", "running"))
    ended = await login.run(f"({preparation.start}) 2>&1", seconds=preparation.start_seconds)
    await _settle("start", "start-failed", ended, tell, "started: it connects by itself")


async def _settle(
    step: Step,
    reason: Reason,
    ended: Ended,
    tell: Callable[[StepTold], Awaitable[None]],
    words: str,
) -> None:
    if ended.status != 0:
        status = "no status" if ended.status is None else f"status {ended.status}"
        raise SshFailedError(reason, f"it ended with {status}: {ended.last_words}")
    await tell(StepTold(step, "done", words))
