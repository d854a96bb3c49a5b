"""The REST API: one resource that answers for every command of the registry.

The order of the checks is the security of it: who asks, what is asked for, whether that one may ask
for it; only then is anything of the request decoded.
"""
# mypy: disable-error-code="no-untyped-call"
# (Twisted's web classes are untyped)

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import parse_qs

import attrs
import msgspec
from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from controller.commands import Command, Registry
from controller.principal import Principal
from controller.refusal import CommandError
from controller.storage.database import CommitUnknownError, DatabaseUnavailableError
from controller.storage.errors import PLIGHTS
from controller.web.authentication import Authenticator, check_permission
from controller.web.channel import BODY, BoundedRequest, HangUp
from controller.web.decoding import build_request, read_json_object
from controller.web.event_stream import EventStream
from controller.web.events import EventBus
from controller.web.openapi import document
from controller.web.problems import ProblemError, from_command_error, problem
from controller.web.routing import PREFIX, Route, RouteTable
from controller.web.watching import seen_hash, take_wait, watch

_IDEMPOTENCY_KEY = re.compile(rb"^[\x21-\x7e]{1,128}$")
_VERSION_TAG = re.compile(rb'^"v?(\d{1,18})"$')
_log = Logger()

_UNKNOWN = problem(
    503,
    "commit.unknown",
    "the database went away during the commit: it may or may not have happened",
    allowed="ask again with the same Idempotency-Key, which tells",
).problem


class Answer(Protocol):
    """What running a command gives."""

    @property
    def result(self) -> Any:
        """Plain data."""

    @property
    def change_id(self) -> int | None:
        """The change that was written."""

    @property
    def plan(self) -> Any:
        """What a dry run would do."""

    @property
    def since(self) -> int | None:
        """The change by which it is so, where none was written."""


class Runner(Protocol):
    """Runs commands; see `controller.runner.CommandRunner`."""

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
    ) -> Answer:
        """Run one command in one transaction. Raises `CommandError`."""


@attrs.frozen
class _Reply:
    body: bytes
    headers: Mapping[str, str]


@implementer(IResource)
class Api:
    """Everything below ``/api/v1``."""

    isLeaf = True

    def __init__(
        self,
        *,
        registry: Registry,
        runner: Runner,
        authenticator: Authenticator,
        bus: EventBus,
        stream: EventStream,
        clock: IReactorTime,
        version: str,
    ) -> None:
        self._routes = RouteTable(registry)
        self._runner = runner
        self._authenticator = authenticator
        self._bus = bus
        self._stream = stream
        self._clock = clock
        self._openapi = msgspec.json.encode(document(registry, version))

    def getChildWithDefault(self, name: bytes, request: Any) -> IResource:
        """Have no children: the route table looks at the whole path."""
        raise NotImplementedError

    def putChild(self, path: bytes, child: IResource) -> None:
        """Have no children."""
        raise NotImplementedError

    def render(self, request: BoundedRequest) -> int:
        """Answer a request, whatever its method."""
        ensureDeferred(self._respond(request)).addErrback(
            lambda failure: _log.failure("an answer could not be written", failure)
        )
        return NOT_DONE_YET

    async def _respond(self, request: BoundedRequest) -> None:
        gone = HangUp(request)
        rules = request.rules  # a request whose client hung up has lost its way to them
        try:
            reply = await self._reply(request, gone)
        except ProblemError as error:
            refusal = error.problem
        except CommandError as error:
            refusal = from_command_error(error)
        except DatabaseUnavailableError as error:
            _log.warn("nothing can be written or read: {error}", error=error)
            refusal = problem(
                503,
                f"database.{error.plight}",
                f"{PLIGHTS[error.plight]}: nothing was written",
                allowed="ask again",
            ).problem
        except CommitUnknownError as error:
            _log.warn("a commit is not known to have happened: {error}", error=error)
            refusal = _UNKNOWN
        except Exception:  # the border: whatever it was, a person gets an id and the log the rest
            refusal = rules.failed(Failure())
        else:
            if reply is not None and not gone():
                for name, value in reply.headers.items():
                    request.responseHeaders.setRawHeaders(name, [value])
                request.responseHeaders.setRawHeaders("Content-Length", [str(len(reply.body))])
                request.write(reply.body)
            if not gone():
                request.finish()
            return
        if not gone():
            request.answer_problem(refusal)

    async def _reply(self, request: BoundedRequest, gone: HangUp) -> _Reply | None:
        principal = await self._authenticator.principal(request)
        path, _, query = request.uri.partition(b"?")
        if path == PREFIX + b"openapi.json" and request.method in (b"GET", b"HEAD"):
            return _Reply(self._openapi, {"Content-Type": "application/json"})
        if path == PREFIX + b"events" and request.method in (b"GET", b"HEAD"):
            check_permission(principal, "provider.read")
            await self._stream.serve(request, gone)
            return None
        route = self._routes.find(request.method, path)
        check_permission(principal, route.command.permission)
        texts = _query(query)
        if route.command.writes:
            return await self._write(request, principal, route, texts)
        return await self._read(principal, route, texts, gone)

    async def _read(
        self,
        principal: Principal,
        route: Route,
        query: dict[str, Sequence[str]],
        gone: HangUp,
    ) -> _Reply:
        command = route.command
        follows = command.name == "change.show"
        wait = take_wait(query) if follows else None
        asked = build_request(command, route.fields, query, {})

        async def read() -> Any:
            return (await self._runner.run(principal, command.name, asked)).result

        if wait is not None:
            result = await watch(read, wait, self._bus, self._clock, gone)
        else:
            result = await read()
            if follows:
                result = {**result, "seen": seen_hash(result)}
        return _json(result, **_version_tag(result))

    async def _write(
        self,
        request: BoundedRequest,
        principal: Principal,
        route: Route,
        query: dict[str, Sequence[str]],
    ) -> _Reply:
        command = route.command
        dry_run, diff = _take_flag(query, "dry_run"), _take_flag(query, "diff")
        if diff and not dry_run:
            raise problem(
                422,
                "request.diff",
                "boxes are asked for differences by a dry run alone",
                field="diff",
                allowed="dry_run=true&diff=true",
            )
        body = _body(request, command)
        if query and (command.method != "DELETE" or body):
            name = next(iter(query))
            raise problem(
                422,
                "request.field.unknown",
                "a write takes its fields from the body",
                field=name,
                allowed="dry_run, diff",
            )
        _take_if_match(request, command, body)
        answer = await self._runner.run(
            principal,
            command.name,
            build_request(command, route.fields, query, body),
            idempotency_key=_idempotency_key(request),
            dry_run=dry_run,
            diff=diff,
            reason=_reason(request),
        )
        headers: dict[str, str] = {}
        if answer.change_id is not None:
            headers["Heliosphere-Change"] = str(answer.change_id)
            _log.info(
                "change {change}: {command} by {actor} ({origin})",
                change=answer.change_id,
                command=command.name,
                actor=principal.actor,
                origin=principal.origin,
            )
        told = {
            "change": answer.change_id,
            "result": answer.result,
            "plan": _plain(answer.plan),
            "since": answer.since,
        }
        return _json(told, **headers)


def _json(value: Any, **headers: str) -> _Reply:
    return _Reply(
        msgspec.json.encode(value, enc_hook=str), {"Content-Type": "application/json", **headers}
    )


def _plain(plan: Any) -> Any:
    return None if plan is None else msgspec.to_builtins(plan, enc_hook=str)


def _query(text: bytes) -> dict[str, Sequence[str]]:
    try:
        return dict(
            parse_qs(
                text.decode("ascii"),
                keep_blank_values=True,
                strict_parsing=bool(text),
                errors="strict",
                max_num_fields=100,
            )
        )
    except ValueError as error:
        raise problem(400, "request.query", "the query cannot be read") from error


def _take_flag(query: dict[str, Sequence[str]], name: str) -> bool:
    texts = query.pop(name, None)
    if texts is None or texts == ["false"]:
        return False
    if texts == ["true"]:
        return True
    raise problem(
        422,
        "request.field.invalid",
        f"{name}: neither true nor false",
        field=name,
        value=texts[0],
        allowed="true, false",
    )


def _body(request: BoundedRequest, command: Command[Any]) -> dict[str, Any]:
    content: bytes = request.content.read() if request.content is not None else b""
    kinds = request.requestHeaders.getRawHeaders(b"content-type") or []
    kind = kinds[0].split(b";")[0].strip().lower() if len(kinds) == 1 else b""
    if (content or command.method != "DELETE") and kind != b"application/json":
        raise problem(
            415,
            "request.content-type",
            "the body must be JSON and say so",
            field="Content-Type",
            value=kind.decode("ascii", "replace"),
            allowed="application/json",
        )
    if len(content) > BODY and not command.name.endswith(".import"):
        raise problem(
            413, "request.body.too-large", "the body is too large", allowed=f"at most {BODY} bytes"
        )
    return read_json_object(content)


def _take_if_match(request: BoundedRequest, command: Command[Any], body: dict[str, Any]) -> None:
    tags = request.requestHeaders.getRawHeaders(b"if-match")
    if tags is None:
        return
    takes_version = "version" in {field.name for field in attrs.fields(command.request)}
    match = _VERSION_TAG.match(tags[0]) if len(tags) == 1 else None
    if not takes_version or match is None:
        raise problem(
            422,
            "request.if-match",
            "If-Match is not understood here",
            field="If-Match",
            allowed='the ETag of a read, such as "v3"' if takes_version else "no If-Match",
        )
    body["version"] = int(match[1])


def _version_tag(result: Any) -> dict[str, str]:
    version = result.get("version") if isinstance(result, dict) else None
    return {"ETag": f'"v{version}"'} if isinstance(version, int) else {}


def _idempotency_key(request: BoundedRequest) -> str | None:
    keys = request.requestHeaders.getRawHeaders(b"idempotency-key")
    if keys is None:
        return None
    if len(keys) != 1 or not _IDEMPOTENCY_KEY.match(keys[0]):
        raise problem(
            422,
            "request.idempotency-key",
            "the idempotency key cannot be used",
            field="Idempotency-Key",
            allowed="1 to 128 visible ASCII characters, once",
        )
    return keys[0].decode("ascii")


def _reason(request: BoundedRequest) -> str:
    texts = request.requestHeaders.getRawHeaders(b"heliosphere-reason") or [b""]
    try:
        reason = texts[0].decode("utf-8")
    except UnicodeDecodeError:
        reason = "\0"
    if len(texts) != 1 or len(reason) > 500 or not (reason.isprintable() or not reason):
        raise problem(
            422,
            "request.reason",
            "the reason cannot be used",
            field="Heliosphere-Reason",
            allowed="at most 500 printable characters of UTF-8",
        )
    return reason
