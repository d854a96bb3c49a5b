"""S29: two programs never disagree on where a request ends, and nobody holds a connection for ever.

Cases: Twisted CVE-2020-10108, CVE-2022-24801, CVE-2023-46137, CVE-2024-41671, CVE-2024-41810.
"""

import re
from collections.abc import AsyncIterator
from importlib.metadata import version
from pathlib import Path

import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

import controller.web
from controller.web.channel import IDLE_SECONDS, REQUEST_SECONDS
from tests.web_site import TOKEN, Site, running_site

AUTHORIZATION = f"Authorization: Bearer {TOKEN}\r\n"
SMUGGLED = f"DELETE /api/v1/things/a HTTP/1.1\r\nHost: panel.test\r\n{AUTHORIZATION}\r\n"
HEAD = (
    "POST /api/v1/things HTTP/1.1\r\nHost: panel.test\r\nContent-Type: application/json\r\n"
    + AUTHORIZATION
)


@pytest_twisted.async_yield_fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running_site(tmp_path) as running:
        yield running


CHUNKED = f"{HEAD}Transfer-Encoding: chunked\r\n\r\n"
MANY_HEADERS = "X-A: b\r\n" * 100
LARGE_HEADERS = ("X-A: " + "b" * 5000 + "\r\n") * 5
PLAIN = f"GET /api/v1/things HTTP/1.1 X\r\nHost: panel.test\r\n\r\n{SMUGGLED}"


def with_length(headers: str) -> str:
    """A request with ``headers``, a body of two bytes, and another request behind it."""
    return f"{HEAD}{headers}Content-Length: 2\r\n\r\n{{}}{SMUGGLED}"


def with_lengths(*headers: str) -> str:
    """A request that says its length by ``headers``, and another request behind it."""
    return HEAD + "".join(f"{header}\r\n" for header in headers) + "\r\n{}" + SMUGGLED


def with_codings(*headers: str) -> str:
    """A request in one chunk that says so by ``headers``, and another request behind it."""
    lines = "".join(f"{header}\r\n" for header in headers)
    return f"{HEAD}{lines}\r\n2\r\n{{}}\r\n0\r\n\r\n{SMUGGLED}"


CORPUS = {
    "length beside chunks": with_codings("Content-Length: 4", "Transfer-Encoding: chunked"),
    "chunks beside length": with_codings("Transfer-Encoding: chunked", "Content-Length: 4"),
    "another coding": with_codings("Transfer-Encoding: xchunked"),
    "two codings": with_codings("Transfer-Encoding: chunked, identity"),
    "two coding headers": with_codings("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "two lengths": with_lengths("Content-Length: 2", "Content-Length: 200"),
    "a list of lengths": with_lengths("Content-Length: 2, 2"),
    "a signed length": with_lengths("Content-Length: +2"),
    "a negative length": with_lengths("Content-Length: -2"),
    "a length in hex": with_lengths("Content-Length: 0x2"),
    "a length with an underscore": with_lengths("Content-Length: 1_0"),
    "a space before the colon": with_lengths("Content-Length : 2"),
    "a body that is too large": with_lengths("Content-Length: 9000000"),
    "a NUL in a header": with_length("X-Odd: a\0b\r\n"),
    "a header without a colon": with_length("Odd\r\n"),
    "very many headers": with_length(MANY_HEADERS),
    "very large headers": with_length(LARGE_HEADERS),
    "a chunk size in 0x": f"{CHUNKED}0x2\r\n{{}}\r\n0\r\n\r\n{SMUGGLED}",
    "a negative chunk size": f"{CHUNKED}-1\r\n{{}}\r\n0\r\n\r\n{SMUGGLED}",
    "a chunk without its end": f"{CHUNKED}2\r\n{{}}XX0\r\n\r\n{SMUGGLED}",
    "a request line of four words": PLAIN,
    "another version": PLAIN.replace("HTTP/1.1 X", "HTTP/3.0"),
    "a very long line": PLAIN.replace("/things HTTP/1.1 X", f"/{'a' * 20000} HTTP/1.1"),
}


@pytest.mark.parametrize("name", CORPUS)
@ensureDeferred
async def test_nothing_behind_a_malformed_request_is_heard(site: Site, name: str) -> None:
    answer = await site.raw(CORPUS[name].encode())
    assert site.runner.asked == []
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", answer)
    assert statuses == [] or statuses[0] in (b"400", b"413", b"431")
    assert len(statuses) <= 1


@ensureDeferred
async def test_chunks_without_end_are_cut_off(site: Site) -> None:
    data = HEAD + "Transfer-Encoding: chunked\r\n\r\n" + ("10000\r\n" + "x" * 65536 + "\r\n") * 40
    answer = await site.raw(data.encode())
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413 ")
    assert site.runner.asked == []


@ensureDeferred
async def test_two_whole_requests_in_one_packet_are_answered_in_order(site: Site) -> None:
    first = f"GET /api/v1/things/a HTTP/1.1\r\nHost: panel.test\r\n{AUTHORIZATION}\r\n"
    second = first.replace("/a ", "/b ").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")
    answer = await site.raw((first + second).encode())
    assert re.findall(rb"HTTP/1\.1 (\d+)", answer) == [b"200", b"200"]
    assert [asked.request.name for asked in site.runner.asked] == ["a", "b"]


@ensureDeferred
async def test_a_body_belongs_to_its_request(site: Site) -> None:
    body = SMUGGLED
    data = f"{HEAD}Connection: close\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    answer = await site.raw(data.encode())
    assert re.findall(rb"HTTP/1\.1 (\d+)", answer) == [b"400"]
    assert site.runner.asked == []


def dribble(site: Site, first: bytes, piece: bytes, every: float) -> tuple[float, bool]:
    """Send ``first``, then ``piece`` again and again; give when the server had enough."""
    clock = Clock()
    channel = site.site.buildProtocol(None)
    channel.callLater = clock.callLater
    transport = StringTransport()
    channel.makeConnection(transport)
    if first:
        channel.dataReceived(first)
    while not transport.disconnecting and clock.seconds() < 1000:
        clock.advance(every)
        if piece and not transport.disconnecting:
            channel.dataReceived(piece)
    for call in clock.getDelayedCalls():
        call.cancel()
    return clock.seconds(), transport.disconnecting


@ensureDeferred
async def test_a_request_that_never_ends_is_ended(site: Site) -> None:
    for first, piece in (
        (b"", b""),
        (b"GET /api/v1/things HTTP/1.1\r\n", b"X-A: b\r\n"),
        (HEAD.encode() + b"Content-Length: 1000\r\n\r\n", b" "),
        (HEAD.encode() + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ):
        seconds, ended = dribble(site, first, piece, 1.0)
        assert ended
        assert seconds <= max(REQUEST_SECONDS, IDLE_SECONDS) + 1


@ensureDeferred
async def test_a_slow_header_is_ended_after_the_time_of_a_request(site: Site) -> None:
    seconds, ended = dribble(site, b"GET / HTTP/1.1\r\n", b"X", 1.0)
    assert ended
    assert seconds <= REQUEST_SECONDS + 1


def test_twisted_is_new_enough_to_know_these_attacks() -> None:
    assert tuple(int(part) for part in version("twisted").split(".")[:2]) >= (24, 11)


def test_nothing_of_ours_redirects_where_a_request_says() -> None:
    for path in Path(controller.web.__file__).parent.glob("*.py"):
        assert not re.search(r"redirectTo|\.redirect\(", path.read_text()), path
