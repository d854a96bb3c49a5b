"""named's control channel: one kept connection for a lane, and zones added, changed and removed.

named reads one command, runs it and answers; a second one that is already on its way is lost
(tried with 9.18), so commands wait for each other. After about 30 s idle named closes; the next
command connects anew.
"""

import base64
import binascii
import random
import re
import time
from collections.abc import Callable
from typing import cast

from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError, ConnectingCancelledError, ConnectionClosed
from twisted.internet.interfaces import IReactorTCP, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure

from node_agent.effects import isccc
from node_agent.effects.failures import (
    BoxUnavailableError,
    EffectFailedError,
    KeyRefusedError,
    NotFinishedError,
)
from templates.effects import AddZone, ReloadZone, RemoveZone, ZoneEffect
from templates.service_type import ControlEndpoint

CONNECT_TIMEOUT = 5.0
COMMAND_TIMEOUT = 30.0
"""Seconds; a reconfiguration with 100,000 zones takes up to 4 s."""


_NOT_KEPT = "failure"
"""named's word for a zone that it serves and cannot show: it was added while the disk was full, so
that it is not kept over a restart (seen with named 9.18)."""
_KEY_REFUSED = (
    "named ends every connection of its control channel at the first word: it does not take the"
    " agent's key. It was started from another named.conf than the agent wrote: hsctl drift show"
    " tells what was changed there, hsctl drift repair brings it back"
)
_UNREAD = "up-to-date"
"""What named says of a reload where it did not read the zone's file (BIND 9.18)."""


class CommandRefusedError(EffectFailedError):
    """named refused a command; ``error`` is its word for it, such as ``already exists``."""

    def __init__(self, words: str, error: str) -> None:
        super().__init__(words)
        self.error = error


class _LinkLostError(Exception):
    """The connection ended before a reply came."""


class _ControlProtocol(Protocol):
    """Takes replies apart by their length and hands each to the one who waits."""

    transport: ITCPTransport

    def __init__(self) -> None:
        self.lost = False
        self.nonce: bytes | None = None
        self._buffer = b""
        self._waiting: Deferred[bytes] | None = None

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)

    def ask(self, message: bytes) -> "Deferred[bytes]":
        """Send a command and wait for its reply; one that nobody waits for ends the connection.

        The kernel takes it now, not in the reactor's next turn: what this one still has to do,
        it does while named is at work.
        """
        self._waiting = Deferred(self._give_up)
        self.transport.write(message)
        tcp = self.transport
        if isinstance(tcp, Connection) and not tcp.disconnecting:
            tcp.doWrite()  # type: ignore[no-untyped-call]
        return self._waiting

    def _give_up(self, _: "Deferred[bytes]") -> None:
        self._waiting = None
        self.transport.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) < 4:
            return
        length = int.from_bytes(self._buffer[:4], "big")
        if length > isccc.MAX_REPLY or self._waiting is None:
            self.transport.abortConnection()
        elif len(self._buffer) >= 4 + length:
            message, self._buffer = self._buffer[4 : 4 + length], self._buffer[4 + length :]
            waiting, self._waiting = self._waiting, None
            waiting.callback(message)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.errback(_LinkLostError(reason.getErrorMessage()))


class ControlChannel:
    """The control channel of one named."""

    def __init__(
        self,
        reactor: IReactorTime,
        endpoint: ControlEndpoint,
        now: Callable[[], float] = time.time,
    ) -> None:
        """Keep where named listens; nothing is connected yet. ``reactor`` also makes TCP.

        ``now`` is the time of day, which messages carry (seconds since the epoch).
        """
        self._reactor = reactor
        self._now = now
        self._silences = 0
        self._silence = ""
        self._endpoint = endpoint
        self._lock = DeferredLock()
        self._protocol: _ControlProtocol | None = None
        self._serial = random.SystemRandom().randrange(1 << 31)
        try:
            self._secret = base64.b64decode(endpoint.secret, validate=True)
        except binascii.Error as error:
            raise ValueError("the control channel's secret is not base64") from error

    async def command(self, command: str, *, timeout: float = COMMAND_TIMEOUT) -> str:
        """Run one command of rndc(8) and give named's words.

        ``timeout`` (seconds) counts from when it is sent. Where a kept connection breaks before the
        reply, the command is sent once more: it must do no harm twice. Raises
        `EffectFailedError` where named refuses, `BoxUnavailableError` where it cannot be asked.
        """
        if not command.isprintable() or len(command.encode()) > isccc.MAX_REQUEST:
            raise EffectFailedError(f"named cannot take the command {command[:80]!a}...")
        silences = self._silences
        try:
            await self._lock.acquire()
        except CancelledError:
            if silences == self._silences:
                raise
            raise BoxUnavailableError(self._silence) from None
        try:
            return await self._ask(command, timeout)
        finally:
            self._lock.release()

    async def _ask(self, command: str, timeout: float) -> str:
        try:
            try:
                return await self._run(command, timeout)
            except _LinkLostError:
                return await self._run(command, timeout)
        except (_LinkLostError, isccc.ControlProtocolError) as error:
            self.close()
            words = f"named's control channel: {error}"
            self._fell_silent(words)
            raise BoxUnavailableError(words) from error
        except BoxUnavailableError as error:
            self._fell_silent(str(error))
            raise

    def _fell_silent(self, words: str) -> None:
        """Of hundreds that wait in line, one alone spends its time on a named that hangs."""
        self._silences += 1
        self._silence = words
        for waiting in tuple(self._lock.waiting):
            waiting.cancel()

    def close(self) -> None:
        """End the connection. A later command makes a new one."""
        protocol, self._protocol = self._protocol, None
        if protocol is not None and not protocol.lost:
            protocol.transport.abortConnection()

    async def _run(self, command: str, timeout: float) -> str:
        protocol = self._protocol
        if protocol is None or protocol.lost:
            protocol = await self._connect()
        answer = await self._exchange(protocol, command, timeout)
        if answer.result != 0:
            words = ": ".join(part for part in (answer.error, answer.text) if part)
            raise CommandRefusedError(words or f"result {answer.result}", answer.error)
        return answer.text

    async def _connect(self) -> _ControlProtocol:
        address, port = self._endpoint.address, self._endpoint.port
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        client = kind(cast(IReactorTCP, self._reactor), address, port, timeout=CONNECT_TIMEOUT)
        try:
            protocol: _ControlProtocol = await connectProtocol(  # type: ignore[no-untyped-call]
                client, _ControlProtocol()
            )
        except (ConnectError, ConnectionClosed, ConnectingCancelledError) as error:
            raise BoxUnavailableError(
                f"named's control channel at {address}:{port}: {error}"
            ) from (error)
        self._protocol = protocol
        try:
            answer = await self._exchange(protocol, "null", CONNECT_TIMEOUT)
        except _LinkLostError as lost:
            raise KeyRefusedError(_KEY_REFUSED) from lost
        protocol.nonce = answer.nonce
        return protocol

    async def _exchange(
        self, protocol: _ControlProtocol, command: str, timeout: float
    ) -> isccc.Reply:
        self._serial += 1
        serial = self._serial
        message = isccc.request(
            self._secret,
            command,
            serial=serial,
            now=int(self._now()),
            nonce=protocol.nonce,
        )
        waiting = protocol.ask(message)
        late = self._reactor.callLater(timeout, waiting.cancel)
        try:
            data = await waiting
        except CancelledError:
            self.close()
            if late.active():
                raise
            raise NotFinishedError(
                f"named did not answer the command {command[:80]!a} within {timeout:g} s"
            ) from None
        finally:
            if late.active():
                late.cancel()
        answer = isccc.reply(self._secret, data, now=int(self._now()))
        if answer.serial != serial or (
            protocol.nonce is not None and answer.nonce != protocol.nonce
        ):
            raise isccc.ControlProtocolError("the reply belongs to another command")
        return answer


class ZoneControl:
    """Zones of one named, through its control channel. Every step may be repeated."""

    def __init__(self, channel: ControlChannel) -> None:
        self._channel = channel

    async def apply(self, effect: ZoneEffect) -> ZoneEffect | None:
        """Carry out ``effect`` and give the one that undoes it, None where nothing was to do.

        Raises `EffectFailedError` with named's words, `BoxUnavailableError`.
        """
        match effect:
            case AddZone():
                return await self._add(effect)
            case RemoveZone():
                return await self._remove(effect)
            case ReloadZone():
                return await self._reload(effect)

    async def reconfigure(self) -> None:
        """Make named read named.conf again; zones that did not change are not loaded again."""
        await self._channel.command("reconfig")

    async def retransfer(self, zone: str) -> None:
        """Make a secondary transfer a zone now."""
        await self._channel.command(f"retransfer {_zone(zone)}")

    async def configuration(self, zone: str) -> str | None:
        """Give the text inside the braces of a zone's configuration, None where there is none."""
        try:
            text = await self._channel.command(f"showzone {_zone(zone)}")
        except CommandRefusedError as error:
            if error.error == "not found":
                return None
            raise
        return text.partition("{")[2].rpartition("}")[0].strip()

    async def _add(self, effect: AddZone) -> ZoneEffect:
        zone, config = _zone(effect.zone), _config(effect.config)
        try:
            await self._channel.command(f"addzone {zone} {{ {config} }};")
        except CommandRefusedError as error:
            if error.error != "already exists":
                raise
        else:
            return RemoveZone(zone)
        try:
            former = await self.configuration(zone)
        except CommandRefusedError as error:
            if error.error != _NOT_KEPT:
                raise
            await self._channel.command(f"delzone {zone}")
            await self._channel.command(f"addzone {zone} {{ {config} }};")
            return RemoveZone(zone)
        if former is None:
            raise EffectFailedError(f"named says that {zone} exists, and does not show it")
        if _words(former) != _words(config):
            await self._modify(zone, former, config)
        if _role(config) == "master":
            await self._load(zone, config)
        return AddZone(zone, former)

    async def _load(self, zone: str, config: str) -> None:
        """Have named read a zone's file, which was written just now.

        One whose time stamp is before that of the last load is the same to named, whatever is in
        it: so it is where the clock was set back. A zone that is new to named is read.
        """
        if _UNREAD in await self._channel.command(f"reload {zone}"):
            await self._channel.command(f"delzone {zone}")
            await self._channel.command(f"addzone {zone} {{ {config} }};")

    async def _modify(self, zone: str, former: str, config: str) -> None:
        if _role(former) == _role(config):
            await self._channel.command(f"modzone {zone} {{ {config} }};")
            return
        await self._channel.command(f"delzone {zone}")
        try:
            await self._channel.command(f"addzone {zone} {{ {config} }};")
        except EffectFailedError:
            await self._channel.command(f"addzone {zone} {{ {former} }};")
            raise

    async def _remove(self, effect: RemoveZone) -> ZoneEffect | None:
        zone = _zone(effect.zone)
        try:
            former = await self.configuration(zone)
        except CommandRefusedError as error:
            if error.error != _NOT_KEPT:
                raise
            await self._channel.command(f"delzone {zone}")
            return None
        if former is None:
            return None
        try:
            await self._channel.command(f"delzone {zone}")
        except CommandRefusedError as error:
            if error.error != "not found":
                raise
        return AddZone(zone, former)

    async def _reload(self, effect: ReloadZone) -> ZoneEffect:
        try:
            await self._load(_zone(effect.zone), _config(effect.config))
        except CommandRefusedError as error:
            if error.error != "not found":
                raise
            return await self._add(AddZone(effect.zone, effect.config))
        return effect


_ZONE = re.compile(r"[a-z0-9_.][a-z0-9_.-]{0,252}", re.ASCII)
_TOKEN = re.compile(r'"[^"]*"|[{};!]|[^\s{};!"]+')
_SYNONYMS = {"primary": "master", "primaries": "masters", "secondary": "slave"}


def _zone(zone: str) -> str:
    """A zone's name as a word of a command: it ends with the name, and is no option (S11)."""
    if not _ZONE.fullmatch(zone):
        raise EffectFailedError(f"{zone!a} cannot be the name of a zone here")
    return zone


def _config(config: str) -> str:
    """A zone's configuration as part of a command: nothing in it ends the braces around it."""
    depth = 0
    for token in _TOKEN.findall(config):
        depth += {"{": 1, "}": -1}.get(token, 0)
        if depth < 0:
            break
    if depth != 0 or config.count('"') % 2 or "\\" in config or not config.isprintable():
        raise EffectFailedError(f"{config!a} is not the configuration of a zone")
    return config


def _words(config: str) -> list[str]:
    """Take a configuration apart so that named's way to print it compares equal to ours."""
    words = []
    for token in _TOKEN.findall(config):
        word = token.strip('"').removesuffix("/32").removesuffix("/128")
        words.append(_SYNONYMS.get(word, word))
    return words


def _role(config: str) -> str | None:
    words = _words(config)
    return words[words.index("type") + 1] if "type" in words[:-1] else None
