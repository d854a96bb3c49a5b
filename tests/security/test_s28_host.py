"""S28: whose host and whose address it is, is decided here and not by a header.

Cases: Hestia CVE-2020-10966 (reset links), GHSA-73p3 (CF-Connecting-IP), Twisted CVE-2022-39348.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred

from tests.web_site import TOKEN, Site, running_site


@pytest_twisted.async_yield_fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running_site(tmp_path) as running:
        yield running


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:1", "panel.test", "PANEL.test.", "panel.test:8443", "[::1]:8443"],
)
@ensureDeferred
async def test_a_host_of_ours_is_served_under_any_port(site: Site, host: str) -> None:
    reply = await site.ask("GET", "/api/v1/things", headers={"Host": host})
    assert reply.status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.test",
        "shop.test",
        "panel.test.evil.test",
        "evil.test:8443",
        "panel.test@evil.test",
        "panel.test:evil",
        "panel.test:80:80",
        "",
        "<script>",
        "::1",
    ],
)
@ensureDeferred
async def test_an_unknown_host_gets_nothing_and_no_echo(site: Site, host: str) -> None:
    for path in ("/api/v1/things", "/", "/anything"):
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {TOKEN}\r\n"
            "Connection: close\r\n\r\n"
        )
        answer = await site.raw(request.encode())
        assert answer.startswith(b"HTTP/1.1 421 ")
        if host and host != "::1":
            assert host.encode() not in answer
    assert site.runner.asked == []


@pytest.mark.parametrize(
    "head",
    [
        "GET /api/v1/things HTTP/1.1\r\n",
        "GET /api/v1/things HTTP/1.0\r\n",
        "GET /api/v1/things HTTP/1.1\r\nHost: panel.test\r\nHost: evil.test\r\n",
        "GET /api/v1/things HTTP/1.1\r\nHost: evil.test\r\nHost: panel.test\r\n",
        "GET https://evil.test/api/v1/things HTTP/1.1\r\nHost: panel.test\r\n",
        "GET https://panel.test/api/v1/things HTTP/1.1\r\nHost: evil.test\r\n",
        "GET //evil.test/api/v1/things HTTP/1.1\r\nHost: panel.test\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: panel.test\r\n",
        "CONNECT evil.test:443 HTTP/1.1\r\nHost: panel.test\r\n",
    ],
)
@ensureDeferred
async def test_an_ambiguous_target_is_refused(site: Site, head: str) -> None:
    request = f"{head}Authorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n"
    answer = await site.raw(request.encode())
    assert answer.split(b" ")[1] in (b"400", b"404", b"421")
    assert b"evil" not in answer
    assert site.runner.asked == []


@ensureDeferred
async def test_forwarded_headers_are_not_believed(site: Site) -> None:
    headers = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Forwarded-Host": "evil.test",
        "X-Forwarded-Proto": "http",
        "X-Real-IP": "203.0.113.9",
        "CF-Connecting-IP": "203.0.113.9",
        "Forwarded": "for=203.0.113.9;host=evil.test",
        "X-Original-URL": "/api/v1/changes/1",
        "X-Rewrite-URL": "/api/v1/changes/1",
        "X-HTTP-Method-Override": "DELETE",
    }
    reply = await site.ask("GET", "/api/v1/things", headers=headers)
    assert reply.status == 200
    (asked,) = site.runner.asked
    assert (asked.name, asked.principal.origin) == ("thing.list", "api 127.0.0.1")
    assert "Location" not in reply.headers


@ensureDeferred
async def test_every_answer_carries_the_headers_that_protect_it(site: Site) -> None:
    for path in ("/api/v1/things", "/api/v1/none", "/none"):
        reply = await site.ask("GET", path)
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["X-Frame-Options"] == "DENY"
        assert reply.headers["Cache-Control"] == "no-store"
        assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
        assert "Twisted" not in reply.headers["Server"]
