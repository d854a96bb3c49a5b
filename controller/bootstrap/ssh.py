"""Logging in to a box over SSH with a password, once; its host key is known before (Conch)."""
# mypy: disable-error-code="no-untyped-call,misc,no-untyped-def"
# (Conch's classes are untyped)

import struct
from base64 import b64encode
from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Any, Literal, cast

import attrs
from twisted.conch.ssh.channel import SSHChannel
from twisted.conch.ssh.common import NS, getNS
from twisted.conch.ssh.connection import SSHConnection
from twisted.conch.ssh.transport import SSHClientTransport
from twisted.conch.ssh.userauth import SSHUserAuthClient
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeoutError
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory, Protocol

from controller.bootstrap.job import Reason, SshFailedError, SshJob, StepTold
from controller.bootstrap.procedure import MOST_OUTPUT, Ended, shown

Event = Literal["host-key", "logged-in"]


@attrs.frozen
class Deadlines:
    """How long the ways in may take, in seconds."""

    connect: float = 20.0
    host_key: float = 20.0
    login: float = 40.0


def fingerprint_of(key: bytes) -> str:
    """Give a host key's fingerprint as OpenSSH writes it: ``SHA256:`` and unpadded base64."""
    return "SHA256:" + b64encode(sha256(key).digest()).rstrip(b"=").decode("ascii")


class _Transport(SSHClientTransport):
    # What is negotiated is what is shown to people: the kind that ssh-keygen -l shows first. No
    # SHA-1 and no DSA (RFC 8332).
    supportedPublicKeys = [  # noqa: RUF012 Conch declares it so
        b"ssh-ed25519",
        b"ecdsa-sha2-nistp256",
        b"ecdsa-sha2-nistp384",
        b"ecdsa-sha2-nistp521",
        b"rsa-sha2-512",
        b"rsa-sha2-256",
    ]

    def __init__(self, login: "SshLogin") -> None:
        self._login = login

    def verifyHostKey(self, pubKey: bytes, fingerprint: bytes) -> "Deferred[int]":
        """Ask whether this is the host key; nothing was sent yet."""
        return self._login.judge_host_key(pubKey)

    def connectionSecure(self) -> None:
        """Log in."""
        self.requestService(_Authentication(self._login))

    def connectionLost(self, reason: Any = None) -> None:
        """Tell first: channels end with the service."""
        self._login.lost()
        super().connectionLost(reason)


class _Authentication(SSHUserAuthClient):
    """Gives the password once, by whichever way the server takes one."""

    preferredOrder = [b"password", b"keyboard-interactive"]  # noqa: RUF012 Conch declares it so

    def __init__(self, login: "SshLogin") -> None:
        super().__init__(login.job.login.encode(), login.connection)
        self._login = login

    def getPassword(self, prompt: Any = None) -> "Deferred[bytes] | None":
        """Give the password the first time, nothing any later time."""
        password = self._login.take_password()
        return None if password is None else succeed(password.encode())

    def ssh_USERAUTH_PK_OK_password(self, packet: bytes) -> None:
        """Refuse to change a password that has expired: a person does that."""
        self._login.ended(
            "wrong-password", "the password has expired there: log in once and set a new one"
        )

    def auth_keyboard_interactive(self) -> bool:
        """Begin only while the password was not given."""
        return not self._login.password_given and super().auth_keyboard_interactive()

    def getGenericAnswers(
        self, name: bytes, instruction: bytes, prompts: list[tuple[bytes, bool]]
    ) -> "Deferred[list[str]]":
        """Answer the one hidden question with the password."""
        if not prompts:
            return succeed([])
        hidden = [prompt for prompt, echo in prompts if not echo]
        password = self._login.take_password() if len(prompts) == len(hidden) == 1 else None
        if password is None:
            return fail(SshFailedError("wrong-password", "the server asks for more"))
        return succeed([password])

    def getPublicKey(self) -> None:
        """Have no key: the password of this one login is all there is."""


class _Connection(SSHConnection):
    def __init__(self, login: "SshLogin") -> None:
        super().__init__()
        self._login = login

    def serviceStarted(self) -> None:
        """Be logged in."""
        super().serviceStarted()
        self._login.happened("logged-in")


class _Program(SSHChannel):
    """One program on the box."""

    name = b"session"

    def __init__(self, connection: SSHConnection, command: str, given: str) -> None:
        super().__init__()
        self._connection = connection
        self._command = command
        self._given = given
        self._output = bytearray()
        self._status: int | None = None
        self.ended: Deferred[Ended] = Deferred()

    def channelOpen(self, specificData: bytes) -> None:
        """Start the program, then give it its input."""
        asked = self._connection.sendRequest(
            self, b"exec", NS(self._command.encode()), wantReply=True
        )
        asked.addCallbacks(self._started, lambda _: self.loseConnection())

    def _started(self, _: object) -> None:
        self.write(self._given.encode())
        self._connection.sendEOF(self)

    def openFailed(self, reason: object) -> None:
        """End without a status."""
        self.closed()

    def dataReceived(self, data: bytes) -> None:
        """Keep the end of what it says."""
        self._output += data
        del self._output[:-MOST_OUTPUT]

    def request_exit_status(self, data: bytes) -> None:
        """Note how it ended."""
        (self._status,) = struct.unpack(">L", data)

    def closed(self) -> None:
        """Tell how it ended."""
        if not self.ended.called:
            output = self._output.decode("utf-8", "replace")
            self.ended.callback(Ended(self._status, output))


class SshLogin:
    """One connection to one box."""

    def __init__(self, reactor: Any, job: SshJob) -> None:
        self.job = job
        self.connection = _Connection(self)
        self.password_given = False
        self.host_key = ""
        self._password: str | None = job.password
        self._reactor = reactor
        self._transport: Any = None
        self._events: set[Event] = set()
        self._failure: SshFailedError | None = None
        self._waiting: tuple[Event, Deferred[None]] | None = None

    async def connect(self, deadline: float) -> None:
        """Open the connection; raises `SshFailedError`."""
        endpoint = HostnameEndpoint(
            self._reactor, self.job.host.encode(), self.job.port, timeout=deadline
        )
        factory = Factory.forProtocol(lambda: cast(Protocol, _Transport(self)))
        factory.noisy = False
        try:
            self._transport = await endpoint.connect(factory)
        except Exception as error:
            # Whatever kept the connection from being made, the operator is told in one line.
            raise SshFailedError(
                "no-connection", f"no connection to {self.job.host}:{self.job.port}: {error}"
            ) from error

    async def until(self, event: Event, deadline: float) -> None:
        """Wait for an event; raises `SshFailedError`, also for one that does not come in time."""
        if self._failure is not None:
            raise self._failure
        if event in self._events:
            return
        waiting: Deferred[None] = Deferred()
        waiting.addTimeout(deadline, self._reactor)
        self._waiting = (event, waiting)
        try:
            await waiting
        except DeferredTimeoutError:
            words = {"host-key": "show a host key", "logged-in": "answer the login"}[event]
            raise SshFailedError(
                "timeout", f"the server did not {words} within {deadline:g} seconds"
            ) from None
        finally:
            self._waiting = None

    async def run(self, command: str, *, given: str = "", seconds: float) -> Ended:
        """Run a command line of the box's shell; see `procedure.Login`."""
        if self._failure is not None:
            raise self._failure
        program = _Program(self.connection, command, given)
        self.connection.openChannel(program)
        program.ended.addTimeout(seconds, self._reactor)
        try:
            ended = await program.ended
        except DeferredTimeoutError:
            raise SshFailedError(
                "timeout", f"the box did not come to an end within {seconds:g} seconds"
            ) from None
        if self._failure is not None:
            raise self._failure
        return ended

    def close(self) -> None:
        """End the connection, whatever the box still does."""
        self._password = None
        if self._transport is not None and self._transport.transport is not None:
            self._transport.transport.abortConnection()

    # --- what the protocol tells ---

    def judge_host_key(self, key: bytes) -> "Deferred[int]":
        """Accept the host key that is expected, no other and none unseen."""
        kind, _ = getNS(key)
        self.host_key = fingerprint_of(key)
        told = f"{self.host_key} ({shown(kind.decode('ascii', 'replace'))})"
        if not self.job.host_key:
            self.ended(
                "host-key-unknown",
                f"the host key of {self.job.host} is not known: it is {told}; compare it on the"
                " box (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then say so:"
                f" --host-key {self.host_key}",
            )
        elif self.job.host_key != self.host_key:
            self.ended(
                "host-key-changed",
                f"{self.job.host} showed the host key {told}, expected was {self.job.host_key}:"
                " somebody may stand in between, or the box was set up anew",
            )
        if self._failure is not None:
            return fail(self._failure)
        self.happened("host-key")
        return succeed(1)

    def take_password(self) -> str | None:
        """Give the password once."""
        password, self._password = self._password, None
        self.password_given = self.password_given or password is not None
        return password

    def happened(self, event: Event) -> None:
        """Go on where that was waited for."""
        self._events.add(event)
        if self._waiting is not None and self._waiting[0] == event:
            self._waiting[1].callback(None)

    def ended(self, reason: Reason, words: str) -> None:
        """Fail for good; the first reason counts."""
        if self._failure is not None:
            return
        self._failure = SshFailedError(reason, words, host_key=self.host_key)
        if self._waiting is not None:
            self._waiting[1].errback(self._failure)

    def lost(self) -> None:
        """Say what the end of the connection means at this point."""
        if "logged-in" in self._events:
            self.ended("connection-lost", "the connection was lost")
        elif "host-key" not in self._events:
            self.ended("no-connection", "the server ended the connection before it began")
        elif self.password_given:
            self.ended(
                "wrong-password",
                f"the server does not let {self.job.login} in with this password",
            )
        else:
            self.ended("wrong-password", "the server takes no passwords; run the enrolment line")


async def log_in(
    reactor: Any,
    job: SshJob,
    deadlines: Deadlines,
    tell: Callable[[StepTold], Awaitable[None]],
) -> SshLogin:
    """Connect, compare the host key and log in; raises `SshFailedError`.

    The caller closes what this gives; where it raises, it is closed.
    """
    login = SshLogin(reactor, job)
    try:
        await tell(StepTold("connect", "running"))
        await login.connect(deadlines.connect)
        await tell(StepTold("connect", "done", f"{job.host}:{job.port}"))
        await tell(StepTold("host-key", "running"))
        await login.until("host-key", deadlines.host_key)
        await tell(StepTold("host-key", "done", login.host_key))
        await tell(StepTold("log-in", "running"))
        await login.until("logged-in", deadlines.login)
        await tell(StepTold("log-in", "done", f"as {job.login}"))
    except BaseException:
        login.close()
        raise
    return login
