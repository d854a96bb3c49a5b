"""S27: no page of another site can make an operator's browser write.

Cases: Froxlor GHSA-p7qq-rrvw-x55x; Plesk REST API.
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


@ensureDeferred
async def test_the_api_takes_no_cookie(site: Site) -> None:
    for cookie in (f"token={TOKEN}", f"session={TOKEN}", f"Authorization=Bearer {TOKEN}"):
        for method, path, body in (
            ("GET", "/api/v1/things", None),
            ("POST", "/api/v1/things", {"name": "a"}),
        ):
            reply = await site.ask(method, path, body, token=None, headers={"Cookie": cookie})
            assert reply.status == 401
            assert "Set-Cookie" not in reply.headers
    assert site.runner.asked == []


@ensureDeferred
async def test_a_token_in_the_query_or_in_basic_authentication_is_nobody(site: Site) -> None:
    assert (await site.ask("GET", f"/api/v1/things?token={TOKEN}", token=None)).status == 401
    for value in (f"Basic {TOKEN}", TOKEN, "Bearer", f"Bearer  {TOKEN} x", f"Bearer {TOKEN},x"):
        headers = {"Authorization": value}
        assert (await site.ask("GET", "/api/v1/things", token=None, headers=headers)).status == 401


@pytest.mark.parametrize(
    "kind",
    ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", ""],
)
@ensureDeferred
async def test_what_a_form_can_send_is_no_write(site: Site, kind: str) -> None:
    certificate = site.operator_certificate("ann")
    reply = await site.ask(
        "POST",
        "/api/v1/things",
        b'{"name":"a"}',
        token=None,
        certificate=certificate,
        headers={"Content-Type": kind},
    )
    assert reply.status in (400, 415)
    assert site.runner.asked == []


@ensureDeferred
async def test_a_post_without_a_body_must_say_json_too(site: Site) -> None:
    certificate = site.operator_certificate("ann")
    reply = await site.ask("POST", "/api/v1/things", token=None, certificate=certificate)
    assert reply.status == 415


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@ensureDeferred
async def test_a_certificate_that_a_foreign_page_brings_is_not_taken(
    site: Site, headers: dict[str, str]
) -> None:
    certificate = site.operator_certificate("ann")
    for method, path in (("GET", "/api/v1/things"), ("DELETE", "/api/v1/things/a")):
        reply = await site.ask(method, path, token=None, certificate=certificate, headers=headers)
        assert reply.status == 403
    assert site.runner.asked == []


@ensureDeferred
async def test_our_own_page_and_a_program_may_bring_a_certificate(site: Site) -> None:
    certificate = site.operator_certificate("ann")
    own = {"Origin": f"https://127.0.0.1:{site.port}", "Sec-Fetch-Site": "same-origin"}
    for headers in (own, {}):
        reply = await site.ask(
            "GET", "/api/v1/things", token=None, certificate=certificate, headers=headers
        )
        assert reply.status == 200
    assert {asked.principal.actor for asked in site.runner.asked} == {"operator:ann"}


@ensureDeferred
async def test_no_other_site_is_ever_allowed_to_read(site: Site) -> None:
    headers = {"Origin": "https://evil.test", "Access-Control-Request-Method": "POST"}
    for method in ("OPTIONS", "GET"):
        reply = await site.ask(method, "/api/v1/things", headers=headers)
        assert not [name for name in reply.headers if name.lower().startswith("access-control")]
