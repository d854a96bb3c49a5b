"""Enrolling a box: by the line that a person runs there, or over SSH (A14, M4, R239, R240)."""

import re
from ipaddress import ip_address
from typing import Any

import attrs

from controller import names
from controller.bootstrap.job import MEANINGS, RUN_SECONDS, STEPS, SshJob
from controller.changes import secret_field
from controller.cluster.boxes.boxes import NamedBox, find_box
from controller.cluster.boxes.invitations import Invitations
from controller.cluster.ports import SshPort
from controller.commands import Command, Work
from controller.moments import time_text
from controller.refusal import CommandError
from controller.runner import OneTime

_LOGIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


@attrs.frozen
class EnrolBox:
    """A box to enrol, for the first time or anew.

    With ``ssh`` (``USER@HOST``, or ``USER`` at the box's own address) the controller logs in there
    with ``password``, once, and takes all steps; the password is written nowhere. ``host_key`` is
    the fingerprint that the box must show; with none, the one that was pinned by an earlier login.
    ``anew`` goes on where an agent is enrolled already.
    """

    name: str
    ssh: str = ""
    port: int = 22
    password: str = secret_field(default="", once=True)
    host_key: str = ""
    anew: bool = False


@attrs.frozen
class Enrolments:
    """The commands on the enrolment of boxes."""

    invitations: Invitations
    ssh: SshPort | None

    async def enrol(self, work: Work, request: EnrolBox) -> OneTime | dict[str, Any]:
        """Invite a box, or begin to enrol it over SSH. A box that was retired is taken back."""
        box = await find_box(work.tx, request.name)
        address, os_family, pinned, retired = await work.tx.lock(
            """SELECT host(address), os_family, ssh_host_key, retired_at IS NOT NULL
               FROM box WHERE id = %s FOR NO KEY UPDATE""",
            (box.id,),
        )
        if retired:
            await work.tx.run(
                "UPDATE box SET retired_at = NULL, version = version + 1 WHERE id = %s", (box.id,)
            )
            work.change.row("box", box.name, {"retired": True}, {"retired": False})
        answer = {"id": box.id, "name": box.name, "intent": box.intent}
        if not request.ssh:
            return await self.invitations.invite(work, box.id, os_family, answer)
        if self.ssh is None:
            raise CommandError(
                "pserver.ssh.none",
                "this controller enrols no boxes over SSH",
                field="ssh",
                value=request.ssh,
                allowed="run the enrolment line on the box",
                status=409,
            )
        begin = self.ssh.begin
        login, host = _target(request, address, os_family)
        started = await work.tx.maybe(
            """INSERT INTO ssh_enrolment (box_id, login, host, port, ends_by)
               VALUES (%s, %s, %s, %s, now() + make_interval(secs => %s))
               ON CONFLICT (box_id) DO UPDATE
               SET id = DEFAULT, login = excluded.login, host = excluded.host, port = excluded.port,
                   state = 'running', reason = '', message = '', host_key = '', steps = '[]',
                   started_at = now(), ends_by = excluded.ends_by, ended_at = NULL
               WHERE ssh_enrolment.state <> 'running' OR ssh_enrolment.ends_by < now()
               RETURNING id""",
            (box.id, login, host, request.port, RUN_SECONDS),
        )
        if started is None:
            raise CommandError(
                "pserver.ssh.running",
                "an enrolment of this box over SSH is under way",
                field="name",
                value=box.name,
                allowed=f"wait for its end: hsctl pserver enrolment {box.name}",
                status=409,
            )
        token, _ = await self.invitations.token(work, box.id, box.name)
        job = SshJob(
            id=int(started[0]),
            box=box.id,
            box_name=box.name,
            login=login,
            host=host,
            port=request.port,
            host_key=request.host_key or pinned or "",
            anew=request.anew,
            install=self.invitations.enrolment.install,
            enrolment_endpoint=self.invitations.endpoint,
            token=token.text,
            password=request.password,
        )
        work.tx.after_commit(lambda: begin(job))
        return {**answer, "over_ssh": {"login": login, "host": host, "port": request.port}}

    async def progress(self, work: Work, request: NamedBox) -> dict[str, Any]:
        """Show how far the last enrolment over SSH is; ``state`` is ``none`` where there was none.

        One that runs beyond its time was stopped with its controller.
        """
        box = await find_box(work.tx, request.name)
        row = await work.tx.maybe(
            """SELECT login, host, port, state, reason, message, host_key, steps, started_at,
                      ended_at, state = 'running' AND ends_by < now()
               FROM ssh_enrolment WHERE box_id = %s""",
            (box.id,),
        )
        if row is None:
            return {"name": box.name, "state": "none", "steps": []}
        state, reason, message = row[3:6]
        if row[10]:
            state, reason = "failed", "interrupted"
            message = "the controller was stopped meanwhile; try again"
        told = {step: (how, words) for step, how, words in row[7]}
        return {
            "name": box.name,
            "login": row[0],
            "host": row[1],
            "port": row[2],
            "state": state,
            "reason": reason,
            "message": message,
            "host_key": row[6],
            "steps": [
                {"step": step, "words": MEANINGS[step], "state": told[step][0], "message": words}
                if (words := told.get(step, ("", ""))[1]) or step in told
                else {"step": step, "words": MEANINGS[step], "state": "waiting", "message": ""}
                for step in STEPS
            ],
            "started_at": time_text(row[8]),
            "ended_at": time_text(row[9]),
        }

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "pserver.enroll",
                "POST",
                "/pservers/{name}/enrolment",
                EnrolBox,
                "provider.write",
                "Enrol a physical server, for the first time or anew",
                self.enrol,
                "Answers a new line to run on the box, or with ssh does it all over SSH. The box "
                "keeps its objects: also one set up anew, or whose certificate has expired.",
            ),
            Command(
                "pserver.enrolment",
                "GET",
                "/pservers/{name}/enrolment",
                NamedBox,
                "provider.read",
                "Show how far the enrolment of a physical server over SSH is",
                self.progress,
            ),
        )


def _is_address(text: str) -> bool:
    try:
        # A zone index may hold anything, even what ends a line.
        return getattr(ip_address(text), "scope_id", None) is None
    except ValueError:
        return False


def _target(request: EnrolBox, address: str, os_family: str) -> tuple[str, str]:
    """Give login and host of an enrolment over SSH; raises `CommandError`."""
    if os_family != "linux":
        raise CommandError(
            "pserver.ssh.os",
            "over SSH the agent goes to Linux only",
            field="ssh",
            value=request.ssh,
            allowed="run the enrolment line on the box",
        )
    login, at, host = request.ssh.partition("@")
    if not _LOGIN.fullmatch(login) or (at and not host):
        raise CommandError(
            "pserver.ssh.login",
            "not a login on a host",
            field="ssh",
            value=request.ssh,
            allowed="USER, or USER@HOST such as root@192.0.2.7",
        )
    host = host.removeprefix("[").removesuffix("]") or address
    if not names.is_host_name(host.lower()) and not _is_address(host):
        raise CommandError(
            "pserver.ssh.login",
            "not a host name or an IP address",
            field="ssh",
            value=request.ssh,
            allowed="USER, or USER@HOST such as root@192.0.2.7",
        )
    if not request.password:
        raise CommandError(
            "pserver.ssh.password",
            "a password is needed to log in over SSH",
            field="password",
            allowed="the login's password: it is used once and stored nowhere",
        )
    if not 1 <= request.port <= 65535:
        raise CommandError(
            "ip.port.invalid",
            "not a port",
            field="port",
            value=str(request.port),
            allowed="1 to 65535",
        )
    if request.host_key and not _FINGERPRINT.fullmatch(request.host_key):
        raise CommandError(
            "pserver.ssh.host-key",
            "not a fingerprint of a host key",
            field="host_key",
            value=request.host_key,
            allowed="SHA256: and 43 characters, as ssh-keygen -lf shows it",
        )
    return login, host
