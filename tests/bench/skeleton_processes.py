"""The skeleton's two programs: a controller and an agent of Twisted, with nothing in them.

They do what a record change needs and decide nothing, as fast as it is plainly done: prepared
statements whose answers are taken in the turn of the reactor in which they come, one kept thread
for all that blocks, a frame that is with the kernel before the answer to the client is made. Of the
product they have `pki`, for the contexts of mutual TLS.

Run with ``controller`` or ``agent`` and a file of settings. A program ends with its standard input,
and so with the bench, however that ends.
"""

import gc
import json
import os
import struct
import sys
import threading
from pathlib import Path
from queue import SimpleQueue
from time import perf_counter
from typing import Any

import attrs
import psycopg2
from psycopg2 import extensions, extras
from twisted.internet import reactor as _installed
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IHandshakeListener, IReadDescriptor
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import Int32StringReceiver
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from zope.interface import implementer

from pki.contexts import MutualTLS
from tests.bench.durable import ROW, Journal, write_file, zone_text
from tests.bench.rndc import Rndc

reactor: Any = _installed
SWITCH_SECONDS = 0.0005
"""Seconds until a thread that waits for the interpreter gets it, as in the product's agent."""
_STAMPS = struct.Struct(">5d")
"""A frame back: when the agent had the frame, when its thread began, and when that had committed,
had written the file, and had named's answer. All processes of a machine count from one moment."""

_TOKEN = "EXECUTE token(%s)"
_LOCK = "BEGIN; EXECUTE locked(%s)"
_WRITE = "EXECUTE written(%s, %s, %s); COMMIT"
_PREPARING = (
    "PREPARE token(text) AS SELECT operator FROM bench_skeleton_token WHERE token = $1",
    "PREPARE locked(text) AS SELECT serial FROM bench_skeleton WHERE zone = $1 FOR UPDATE",
    "PREPARE written(text, bigint, text) AS"
    " UPDATE bench_skeleton SET serial = $2, body = $3 WHERE zone = $1",
)


@implementer(IReadDescriptor)
class Database:
    """One kept connection, its socket read in the reactor; asked by one who waits at a time."""

    def __init__(self, url: str) -> None:
        self._connection: Any = psycopg2.connect(url, async_=True)
        extras.wait_select(self._connection)
        self._cursor = self._connection.cursor()
        for statement in _PREPARING:
            self._cursor.execute(statement)
            extras.wait_select(self._connection)
        self._waiting: Deferred[Any] | None = None
        reactor.addReader(self)

    def ask(self, sql: str, *parameters: object) -> "Deferred[Any]":
        """Run SQL that a socket's buffer takes at once; gives the cursor."""
        self._cursor.execute(sql, parameters)
        self._waiting = Deferred()
        return self._waiting

    def fileno(self) -> int:
        return int(self._connection.fileno())

    def doRead(self) -> None:
        try:
            if self._connection.poll() != extensions.POLL_OK:
                return
        except psycopg2.Error:
            self._tell(Failure())
        else:
            self._tell(self._cursor)

    def _tell(self, result: object) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(result)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._connection.close()

    def logPrefix(self) -> str:
        return "database"


class Frames(Int32StringReceiver):
    """Length-prefixed frames that are with the kernel when `send` returns."""

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)

    def send(self, frame: bytes) -> None:
        self.sendString(frame)
        self.transport.transport.doWrite()  # without waiting for the reactor's next turn


class FramesOverTls(TLSMemoryBIOFactory):
    """TLS that encrypts a write at once: a frame is one, so there is nothing to gather."""

    protocol = TLSMemoryBIOProtocol


# --- the controller ----------------------------------------------------------------------------


@implementer(IHandshakeListener)
class AgentSession(Frames):
    """The controller's side of the agent's connection."""

    def handshakeCompleted(self) -> None:
        self.factory.api.session = self
        print("agent", flush=True)

    def stringReceived(self, string: bytes) -> None:
        self.factory.api.acknowledged(_STAMPS.unpack(string))


class Api(Resource):
    """One command, ``PUT .../domains/ZONE/records``, and one question: the stages of each."""

    isLeaf = True

    def __init__(self, database: Database) -> None:
        super().__init__()
        self._database = database
        self._own: list[tuple[float, ...]] = []
        self._of_agent: list[tuple[float, ...]] = []
        self.session: AgentSession | None = None

    def acknowledged(self, stamps: tuple[float, ...]) -> None:
        self._of_agent.append(stamps)

    def render_GET(self, request: Request) -> int:
        """Give the moments of every change that the agent has acknowledged."""
        pairs = zip(self._own, self._of_agent, strict=False)
        _answer(request, {"stamps": [[*own, *agent] for own, agent in pairs]})
        return NOT_DONE_YET

    def render_PUT(self, request: Request) -> int:
        """Set the record, and answer with the zone's serial."""
        ensureDeferred(self._change(request, perf_counter())).addErrback(request.processingFailed)
        return NOT_DONE_YET

    async def _change(self, request: Request, came: float) -> None:
        zone = request.path.split(b"/")[-2].decode()
        token = request.getHeader(b"authorization").partition(b" ")[2].decode()
        json.load(request.content)
        cursor = await self._database.ask(_TOKEN, token)
        assert cursor.fetchone() is not None
        known = perf_counter()
        cursor = await self._database.ask(_LOCK, zone)
        serial = cursor.fetchone()[0] + 1
        locked = perf_counter()
        await self._database.ask(_WRITE, zone, serial, ROW)
        committed = perf_counter()
        assert self.session is not None
        self.session.send(f"{zone} {serial}".encode())
        self._own.append((came, known, locked, committed, perf_counter()))
        _answer(request, {"result": {"serial": serial}})


def _answer(request: Request, content: dict[str, Any]) -> None:
    body = json.dumps(content).encode()
    request.setHeader(b"content-type", b"application/json")
    request.setHeader(b"content-length", str(len(body)).encode())
    request.write(body)
    request.finish()


class QuietSite(Site):
    """A site without an access log."""

    def log(self, request: Request) -> None:
        pass


def _control(settings: dict[str, str]) -> None:
    certificate = [settings[word].encode() for word in ("certificate", "key", "ca")]
    api = Api(Database(settings["database"]))
    agents = Factory.forProtocol(AgentSession)
    agents.api = api
    doors = (
        TLSMemoryBIOFactory(
            MutualTLS(*certificate, client_certificate="none"), False, QuietSite(api)
        ),
        FramesOverTls(MutualTLS(*certificate), False, agents),
    )
    ports = [reactor.listenTCP(0, door, interface="127.0.0.1") for door in doors]
    print(*(port.getHost().port for port in ports), flush=True)


# --- the agent ---------------------------------------------------------------------------------


@attrs.define
class Worker:
    """The one thread that blocks: it commits, writes the file and has named read it."""

    journal: Journal
    control: Rndc
    files: dict[str, str]
    """Where the file of each zone is."""
    work: "SimpleQueue[tuple[Frames, bytes, float]]" = attrs.field(factory=SimpleQueue)

    def run(self) -> None:
        while True:
            session, frame, came = self.work.get()
            begun = perf_counter()
            zone, serial = frame.decode().split()
            self.journal.write()
            stored = perf_counter()
            write_file(Path(self.files[zone]), zone_text(zone, int(serial)))
            written = perf_counter()
            self.control.command(f"reload {zone}")
            stamps = _STAMPS.pack(came, begun, stored, written, perf_counter())
            reactor.callFromThread(session.send, stamps)


class ControllerSession(Frames):
    """The agent's side: what comes goes to the worker."""

    def stringReceived(self, string: bytes) -> None:
        self.factory.worker.work.put((self, string, perf_counter()))


def _serve(settings: dict[str, Any]) -> None:
    sys.setswitchinterval(SWITCH_SECONDS)
    worker = Worker(
        Journal(Path(settings["journal"])),
        Rndc("127.0.0.1", settings["control_port"], settings["control_secret"]),
        settings["files"],
    )
    threading.Thread(target=worker.run, daemon=True).start()
    sessions = Factory.forProtocol(ControllerSession)
    sessions.worker = worker
    tls = MutualTLS(*(settings[word].encode() for word in ("certificate", "key", "ca")))
    place = HostnameEndpoint(reactor, "127.0.0.1", settings["controller"])
    wrapClientTLS(tls, place).connect(sessions)


# --- both --------------------------------------------------------------------------------------


def _end_with_the_bench() -> None:
    """Stop when standard input ends. Nothing is ever written to it."""
    os.read(0, 1)
    reactor.callFromThread(reactor.stop)


def main() -> None:
    program = {"controller": _control, "agent": _serve}[sys.argv[1]]
    program(json.loads(Path(sys.argv[2]).read_text()))
    threading.Thread(target=_end_with_the_bench, daemon=True).start()
    gc.collect()
    gc.freeze()
    reactor.run()


main()
