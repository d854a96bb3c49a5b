"""A real site on loopback: real TLS and HTTP over a runner that remembers what it was asked.

For tests of what stands before the commands: who may ask, how requests are read, how answers look.
"""

import http.client
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.web.resource import IResource

from controller.commands import Command, Registry
from controller.principal import Principal
from controller.refusal import CommandError
from controller.web.api import Api
from controller.web.authentication import Authenticator
from controller.web.event_stream import EventStream
from controller.web.events import EventBus
from controller.web.server import ControllerSite, LimitedTls
from pki.authority import Authority
from pki.contexts import MutualTLS
from pki.keys import new_key, signing_request
from pki.names import Name
from pki.revocation import DenyList

TOKEN = "hs_" + "t" * 43
CLUSTER = "test"


@attrs.frozen
class Thing:
    """A request with a path field, a choice of types and a secret."""

    name: str
    size: int = 1
    tags: tuple[str, ...] = ()
    secret: str = attrs.field(default="", metadata={"secret": True})
    version: int | None = None


@attrs.frozen
class Named:
    name: str


@attrs.frozen
class Page:
    limit: int = 100
    names: tuple[str, ...] = ()


@attrs.frozen
class ChangeId:
    id: int


@attrs.frozen
class Asked:
    principal: Principal
    name: str
    request: Any
    idempotency_key: str | None
    dry_run: bool
    reason: str
    diff: bool = False


@attrs.frozen
class Told:
    result: Any
    change_id: int | None = None
    plan: Any = None
    since: int | None = None


async def _unused(work: Any, request: Any) -> Any:
    raise AssertionError("the runner of these tests runs no command")


def things() -> Registry:
    """A small registry with every kind of place."""

    def command(name: str, method: Any, path: str, request: type, permission: Any) -> Command[Any]:
        return Command(name, method, path, request, permission, f"Do {name}", _unused)

    return Registry(
        [
            command("thing.list", "GET", "/things", Page, "provider.read"),
            command("thing.add", "POST", "/things", Thing, "provider.write"),
            command("thing.show", "GET", "/things/{name}", Named, "account.read"),
            command("thing.change", "PATCH", "/things/{name}", Thing, "provider.write"),
            command("thing.delete", "DELETE", "/things/{name}", Named, "provider.write"),
            command("thing.import", "PUT", "/things/{name}/import", Thing, "provider.write"),
            command("change.show", "GET", "/changes/{id}", ChangeId, "account.read"),
        ]
    )


@attrs.define
class RememberingRunner:
    """Answers what it is told to and remembers what it was asked."""

    asked: list[Asked] = attrs.field(factory=list)
    answer: Callable[[Asked], Any] = lambda asked: Told({"name": "thing"})

    async def run(
        self,
        principal: Principal,
        name: str,
        request: Any,
        *,
        idempotency_key: str | None = None,
        dry_run: bool = False,
        diff: bool = False,
        reason: str = "",
    ) -> Any:
        asked = Asked(principal, name, request, idempotency_key, dry_run, reason, diff)
        self.asked.append(asked)
        told = self.answer(asked)
        if isinstance(told, Awaitable):
            told = await told
        if isinstance(told, Exception):
            raise told
        return told


@attrs.define
class MemoryFeed:
    changes: list[dict[str, Any]] = attrs.field(factory=list)

    async def newest(self) -> int:
        return max((change["seq"] for change in self.changes), default=0)

    async def after(self, seq: int, most: int) -> list[dict[str, Any]]:
        return [change for change in self.changes if change["seq"] > seq][:most]


@attrs.frozen
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@attrs.define
class Site:
    """The running site, and a client of it."""

    port: int
    directory: Path
    authority: Authority
    denied: DenyList
    runner: Any
    bus: EventBus
    feed: MemoryFeed
    enabled: set[str]
    site: ControllerSite
    tls: LimitedTls

    def operator_certificate(self, name: str) -> Path:
        """Issue an operator's certificate; gives a file with it and its key."""
        return self.certificate(Name(CLUSTER, "operator", name), f"operator-{name}.pem")

    def certificate(self, name: Name, file: str) -> Path:
        key = new_key()
        issued = self.authority.issue(signing_request(key), name)
        path = self.directory / file
        path.write_bytes(issued.certificate_pem + key)
        return path

    def context(self, certificate: Path | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.authority.certificate_pem.decode())
        if certificate is not None:
            context.load_cert_chain(certificate)
        return context

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = TOKEN,
        headers: Mapping[str, str] | None = None,
        certificate: Path | None = None,
    ) -> Reply:
        """Ask as a well-behaved client; ``body`` is sent as JSON unless it is bytes."""
        sent = dict(headers or {})
        if token is not None:
            sent.setdefault("Authorization", f"Bearer {token}")
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            sent.setdefault("Content-Type", "application/json")

        def exchange() -> Reply:
            connection = http.client.HTTPSConnection(
                "127.0.0.1", self.port, context=self.context(certificate), timeout=30
            )
            try:
                connection.request(method, path, body, sent)
                answer = connection.getresponse()
                return Reply(answer.status, dict(answer.getheaders()), answer.read())
            finally:
                connection.close()

        return await deferToThread(exchange)

    async def raw(self, data: bytes) -> bytes:
        """Send bytes as they are and give all that comes until the server closes."""

        def exchange() -> bytes:
            with (
                socket.create_connection(("127.0.0.1", self.port), timeout=20) as plain,
                self.context().wrap_socket(plain, server_hostname="127.0.0.1") as tls,
            ):
                received = b""
                try:
                    tls.sendall(data)
                    while chunk := tls.recv(65536):
                        received += chunk
                except (ConnectionError, ssl.SSLError):
                    pass
                return received

        return await deferToThread(exchange)


@asynccontextmanager
async def running_site(
    directory: Path,
    *,
    registry: Registry | None = None,
    runner: Any = None,
    panel: IResource | None = None,
    token_operator: Callable[[str], Awaitable[str | None]] | None = None,
    authenticator: Any = None,
    stream: Callable[[EventBus], EventStream] | None = None,
) -> AsyncIterator[Site]:
    """Serve until the context ends; then every connection is gone."""
    directory.mkdir(exist_ok=True)  # noqa: ASYNC240 (of a test, before anybody waits)
    authority = Authority.create(directory / "ca", CLUSTER)
    key = new_key()
    name = Name(CLUSTER, "controller", "")
    own = authority.issue(signing_request(key), name, hosts=["127.0.0.1", "panel.test"])
    denied = DenyList(directory / "denied")
    enabled = {"ann"}
    runner = runner or RememberingRunner()
    bus = EventBus(reactor)
    feed = MemoryFeed()

    async def known_token(token: str) -> str | None:
        return "ann" if token == TOKEN else None

    async def operator_enabled(operator: str) -> bool:
        return operator in enabled

    api = Api(
        registry=registry or things(),
        runner=runner,
        authenticator=authenticator
        or Authenticator(token_operator or known_token, operator_enabled),
        bus=bus,
        stream=stream(bus) if stream else EventStream(bus, feed),
        clock=reactor,
        version="0",
    )
    site = ControllerSite(api, panel, ["127.0.0.1", "panel.test", "::1"], reactor)
    creator = MutualTLS(
        own.certificate_pem,
        key,
        authority.certificate_pem,
        roles=("operator",),
        client_certificate="optional",
        denied=denied,
    )
    tls = LimitedTls(creator, site, reactor)
    listening = reactor.listenTCP(0, tls, interface="127.0.0.1")
    running = Site(
        listening.getHost().port,
        directory,
        authority,
        denied,
        runner,
        bus,
        feed,
        enabled,
        site,
        tls,
    )
    try:
        yield running
    finally:
        await listening.stopListening()
        tls.abort_all()
        while tls.protocols:
            await deferLater(reactor, 0)


def refusal(**more: Any) -> CommandError:
    return CommandError("thing.invalid", "the thing is invalid", **more)


def never() -> Deferred[Any]:
    return Deferred()
