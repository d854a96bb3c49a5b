"""The API from the client's side: one request at a time, TLS pinned to the cluster's CA."""

import http.client
import json
import re
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import attrs

from controller.client.errors import (
    ConnectionFailedError,
    RefusedError,
    UnreachableError,
    UsageError,
)
from controller.client.profiles import Profile, refuse_open_key
from controller.client.routes import ROUTES

RETRY_SECONDS = 15.0
"""How long a write whose answer was lost is asked again, under the same idempotency key."""
LOCAL = "local"
"""The profile of this machine's own cluster."""
_ANSWER_SECONDS = 90.0
_LARGEST_ANSWER = 256 * 1024 * 1024


@attrs.frozen
class Written:
    """The answer of a write. ``since``: where it changed nothing, the change by which it is so."""

    change: int | None
    result: Any
    plan: Any
    since: int | None = None


class Client:
    """Asks one controller. Raises `RefusedError` and `UnreachableError`, nothing else but
    `UsageError` for words that are not UTF-8: a request is not made of them.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        patience: float = _ANSWER_SECONDS,
        now: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Keep whom to ask; ``patience`` are the seconds that an answer may take."""
        self._profile = profile
        self._patience = patience
        self._now = now
        self._pause = pause
        self._context = _context(profile)
        self._connection: http.client.HTTPSConnection | None = None

    def read(self, command: str, fields: Mapping[str, Any]) -> Any:
        """Ask a command that only reads."""
        _check_text(fields)
        method, path, rest = place(command, fields)
        query = {name: value for name, value in rest.items() if value is not None}
        return self._ask(method, _with_query(path, query))

    def pages(
        self, command: str, fields: Mapping[str, Any], limit: int | None = None, *, page: int = 500
    ) -> Iterator[dict[str, Any]]:
        """Give the items of a list, fetching pages of up to ``page`` as they are needed."""
        left = limit
        cursor = None
        while left is None or left > 0:
            asked = {**fields, "limit": min(left or page, page), "cursor": cursor}
            answer = self.read(command, asked)
            yield from answer["items"]
            cursor = answer["next"]
            left = None if left is None else left - len(answer["items"])
            if cursor is None:
                return

    def write(
        self,
        command: str,
        fields: Mapping[str, Any],
        *,
        dry_run: bool = False,
        diff: bool = False,
        reason: str = "",
        key: str | None = None,
    ) -> Written:
        """Ask a command that writes.

        Where the connection fails before the answer, the same request is sent again under the same
        idempotency key, so that it is done once or its answer is told again.
        """
        _check_text({**fields, "reason": reason, "idempotency key": key})
        method, path, rest = place(command, fields)
        body = json.dumps({name: it for name, it in rest.items() if it is not None}).encode()
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": key or uuid.uuid4().hex,
        }
        if reason:
            headers["Heliosphere-Reason"] = reason.encode("utf-8").decode("latin-1")
        flags = {"dry_run": dry_run, "diff": diff}
        url = _with_query(path, {name: "true" for name, given in flags.items() if given})
        until = self._now() + RETRY_SECONDS
        heard = unknown = False
        while True:
            try:
                answer = self._ask(method, url, body, headers)
                break
            except ConnectionFailedError as error:
                # Refused at the first try: nothing was sent, and nobody is there to wait for.
                heard = heard or not isinstance(error.__cause__, ConnectionRefusedError)
                if not heard:
                    raise
                unknown = unknown or not error.unwritten
                if self._now() >= until:
                    if not unknown:
                        raise
                    raise UnreachableError(
                        f"{error.message}; whether it was done is not known: ask again with "
                        f"--idempotency-key {headers['Idempotency-Key']}"
                    ) from error
                self._pause(0.5)
            except KeyboardInterrupt as error:
                raise UnreachableError(
                    "interrupted; whether it was done is not known: hsctl change list shows it, "
                    f"or ask again with --idempotency-key {headers['Idempotency-Key']}"
                ) from error
        since = answer.get("since")  # an older controller does not say
        return Written(answer["change"], answer["result"], answer["plan"], since)

    def _ask(
        self,
        method: str,
        url: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        sent = {"Accept": "application/json", **(headers or {})}
        if self._profile.token:
            sent["Authorization"] = f"Bearer {self._profile.token}"
        try:
            connection = self._connected()
            connection.request(method, url, body, sent)
            answer = connection.getresponse()
            content = answer.read(_LARGEST_ANSWER)
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise UnreachableError(
                f"{self._profile.url} is not the controller of this profile's CA: "
                f"{error.verify_message}"
            ) from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            way = _way_out(self._profile, error)
            raise ConnectionFailedError(f"{self._profile.url}: {_words(error)}{way}") from error
        return _read(answer.status, content)

    def _connected(self) -> http.client.HTTPSConnection:
        if self._connection is None:
            parts = urlsplit(self._profile.url)
            self._connection = http.client.HTTPSConnection(
                parts.hostname or "",
                parts.port or 443,
                context=self._context,
                timeout=self._patience,
            )
        return self._connection

    def close(self) -> None:
        """Close the connection; the next request makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _check_text(fields: Mapping[str, Any]) -> None:
    """See that all text is text: bytes of a command line that are not UTF-8 come as surrogates."""
    for name, value in fields.items():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise UsageError(f"{name.replace('_', ' ')} is not UTF-8") from None


def place(command: str, fields: Mapping[str, Any]) -> tuple[str, str, dict[str, Any]]:
    """Give method and path of a command, and the fields that are not in the path."""
    method, template = ROUTES[command]
    in_path = re.findall(r"\{([^}]*)\}", template)
    path = "/api/v1" + re.sub(
        r"\{([^}]*)\}", lambda match: quote(str(fields[match[1]]), safe=""), template
    )
    return method, path, {name: it for name, it in fields.items() if name not in in_path}


def _with_query(path: str, query: Mapping[str, Any]) -> str:
    return f"{path}?{urlencode(query, doseq=True)}" if query else path


def _context(profile: Profile) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    try:
        if profile.ca.lstrip().startswith("-----BEGIN"):
            context.load_verify_locations(cadata=profile.ca)
        else:
            context.load_verify_locations(cafile=profile.ca)
        if profile.certificate:
            refuse_open_key(profile)
            context.load_cert_chain(profile.certificate, profile.key or None)
    except (OSError, ssl.SSLError, ValueError) as error:
        raise UnreachableError(
            f"the CA or certificate of profile {profile.name} cannot be read: {_words(error)}"
        ) from error
    return context


def _way_out(profile: Profile, error: Exception) -> str:
    if not isinstance(error, ConnectionRefusedError):
        return ""
    if profile.name == LOCAL:
        return "; hsctl local up starts the cluster"
    return f"; is the controller of profile {profile.name} running?"


def _words(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _read(status: int, content: bytes) -> Any:
    try:
        answer = json.loads(content)
    except ValueError:
        answer = None
    if status == 200 and answer is not None:
        return answer
    told = answer if isinstance(answer, dict) else {}
    message = _problem_line(told) or f"the controller answered {status}"
    if status == 503:
        unwritten = str(told.get("id", "")).startswith("database.")
        raise ConnectionFailedError(message, unwritten=unwritten)
    if status == 401:
        raise UnreachableError(f"not signed in: {message}")
    if status >= 500 or status == 421 or answer is None:
        raise UnreachableError(message)
    raise RefusedError(f"refused: {message}")


def _problem_line(told: Mapping[str, Any]) -> str:
    line = str(told.get("detail", ""))
    if told.get("value"):
        line += f" ({told.get('field') or 'given'}: {told['value']})"
    elif told.get("field"):
        line += f" ({told['field']})"
    if told.get("allowed"):
        line += f"; allowed: {told['allowed']}"
    if told.get("id"):
        line += f" [{told['id']}]"
    return line
