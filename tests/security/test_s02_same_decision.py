"""S2: one decision for a command, however its request is spelled.

Cases: CyberPanel CVE-2024-51567 (only POST was checked), Puppet CVE-2016-2785 (URL decoding went
around the rules).
"""

import http.client
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred
from twisted.internet.threads import deferToThread

from controller.commands import Registry
from controller.principal import Principal
from controller.web.authentication import check_permission
from controller.web.problems import ProblemError
from tests.unit.controller.hsctl.conftest import product_registry
from tests.web_site import TOKEN, Site, running_site

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "CONNECT", "BOGUS")
REGISTRY = product_registry()


@pytest_twisted.async_yield_fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running_site(tmp_path, registry=REGISTRY) as running:
        yield running


def spellings(path: str) -> Iterator[str]:
    """Other ways to write a path that some servers would take for the same."""
    head, _, last = path.rpartition("/")
    yield path
    yield f"{path}/"
    yield f"/{path}"
    yield f"{head}//{last}"
    yield f"{head}/./{last}"
    yield f"{head}/x/../{last}"
    yield f"{head}/%2e/{last}"
    yield f"{head}%2f{last}"
    yield f"{head}/{last};x=1"
    yield f"{head}/{last}."
    yield f"{head}/{last}%20"
    yield f"{head}/{last}%00"
    yield f"{head}/{last.upper()}"
    yield f"{head}/%{ord(last[0]):02x}{last[1:]}"
    yield f"{head}/%25{ord(last[0]):02x}{last[1:]}"
    yield path.replace("/api/", "/API/")
    yield path.replace("/api/", "/%61pi/")
    yield path.replace("/v1/", "/v1/v1/")


def places(registry: Registry) -> list[str]:
    paths = {command.path for command in registry}
    return [f"/api/v1{path.replace('{', '').replace('}', '')}" for path in sorted(paths)]


def ask_all(site: Site, requests: Sequence[tuple[str, str]], headers: dict[str, str]) -> list[int]:
    """Send requests as they are, over as few connections as the server allows."""
    statuses = []
    connection = http.client.HTTPSConnection("127.0.0.1", site.port, context=site.context())
    try:
        for method, path in requests:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
            if answer.will_close:
                connection.close()
    finally:
        connection.close()
    return statuses


@ensureDeferred
async def test_nobody_gets_an_answer_by_any_method_or_spelling(site: Site) -> None:
    requests = [
        (method, spelling)
        for path in [*places(REGISTRY), "/api/v1/events", "/api/v1/openapi.json", "/api/v1/none"]
        for spelling in spellings(path)
        for method in METHODS
    ]
    plain = [request for request in requests if request[1] in (*places(REGISTRY),)]
    unknown = {"Authorization": "Bearer hs_" + "0" * 43}
    for asked, headers in ((plain, {}), (requests, unknown)):
        statuses = await deferToThread(ask_all, site, asked, headers)
        wrong = [
            (request, status)
            for request, status in zip(asked, statuses, strict=True)
            # Outside of /api/ there is nothing in this site, signed in or not.
            if status != (401 if request[1].startswith("/api/") else 404)
        ]
        assert wrong == []
    assert site.runner.asked == []


@ensureDeferred
async def test_another_spelling_reaches_the_same_command_or_none(site: Site) -> None:
    by_place = {(command.method, command.path): command.name for command in REGISTRY}
    for path in {command.path for command in REGISTRY}:
        written = f"/api/v1{path.replace('{', '').replace('}', '')}"
        requests = [
            (method, spelling)
            for spelling in spellings(written)
            for method in ("GET", "DELETE", "POST", "BOGUS")
        ]
        site.runner.asked.clear()
        await deferToThread(ask_all, site, requests, {"Authorization": f"Bearer {TOKEN}"})
        reached = {asked.name for asked in site.runner.asked}
        # A bodyless POST, PUT or PATCH is refused as such: of the others only these may run. A
        # place's last word under another spelling may be a name: /domains/{name} and so on.
        allowed = {by_place.get((method, path)) for method in ("GET", "DELETE")}
        parent = path.rpartition("/")[0]
        allowed |= {
            name
            for (method, other), name in by_place.items()
            if method in ("GET", "DELETE")
            and other.rpartition("/")[0] == parent
            and other.endswith("}")
        }
        assert reached <= allowed, path


@ensureDeferred
async def test_only_the_exact_spelling_and_its_encoded_letters_are_known(site: Site) -> None:
    good = ["/api/v1/pservers", "/api/v1/%70servers", "/api/v1/pserver%73"]
    bad = [
        other
        for other in spellings("/api/v1/pservers")
        if other not in (*good, "/api/v1/%70servers")
    ]
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert set(await deferToThread(ask_all, site, [("GET", path) for path in good], headers)) == {
        200
    }
    assert set(await deferToThread(ask_all, site, [("GET", path) for path in bad], headers)) == {
        404
    }


@attrs.frozen
class AccountOnly:
    """Lets everybody in as an account."""

    async def principal(self, request: Any) -> Principal:
        return Principal("account", "account:1", 1)


@ensureDeferred
async def test_an_account_is_refused_before_its_request_is_read(tmp_path: Path) -> None:
    async with running_site(tmp_path, registry=REGISTRY, authenticator=AccountOnly()) as site:
        for command in REGISTRY:
            path = "/api/v1" + command.path.replace("{", "").replace("}", "")
            reply = await site.ask(command.method, path, b"{", token=None)
            provider_only = command.permission.startswith("provider.")
            assert (reply.status == 403) is provider_only, command.name
        assert {asked.name for asked in site.runner.asked} <= {
            command.name for command in REGISTRY if command.permission.startswith("account.")
        }


@pytest.mark.parametrize("command", list(REGISTRY), ids=lambda command: command.name)
def test_each_command_has_a_permission_that_is_looked_at(command: Any) -> None:
    account = Principal("account", "account:1", 1)
    check_permission(Principal("provider", "operator:ann"), command.permission)
    if command.permission.startswith("provider."):
        with pytest.raises(ProblemError) as refused:
            check_permission(account, command.permission)
        assert refused.value.problem.status == 403
    else:
        check_permission(account, command.permission)


@ensureDeferred
async def test_a_revoked_certificate_and_a_disabled_operator_are_nobody(site: Site) -> None:
    certificate = site.operator_certificate("ann")
    signed_in = await site.ask("GET", "/api/v1/pservers", token=None, certificate=certificate)
    assert signed_in.status == 200
    site.enabled.clear()
    refused = await site.ask("GET", "/api/v1/pservers", token=None, certificate=certificate)
    assert refused.status == 401
    site.enabled.add("ann")

    from cryptography import x509

    serial = x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number
    site.denied.add(serial)
    with pytest.raises(OSError, match=r".+"):
        await site.ask("GET", "/api/v1/pservers", token=None, certificate=certificate)


@ensureDeferred
async def test_a_boxs_certificate_is_no_way_in(site: Site) -> None:
    from pki.names import Name

    box = site.certificate(Name("test", "box", "4bcbdef6-4831-475d-a039-bf498d5ea6c2"), "box.pem")
    with pytest.raises(OSError, match=r".+"):
        await site.ask("GET", "/api/v1/pservers", token=None, certificate=box)
    assert site.runner.asked == []
