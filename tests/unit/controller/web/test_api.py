"""How the API reads requests and tells answers."""

import http.client
from threading import Event
from typing import Any

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from controller.storage.database import CommitUnknownError, DatabaseUnavailableError
from tests.conftest import LoggedErrors
from tests.web_site import TOKEN, ChangeId, Named, Page, Site, Thing, Told, refusal

pytestmark = pytest.mark.usefixtures("logged_errors")


@ensureDeferred
async def test_a_write_reaches_its_command_with_all_that_was_said(site: Site) -> None:
    site.runner.answer = lambda asked: Told({"name": "a"}, change_id=7)
    reply = await site.ask(
        "POST",
        "/api/v1/things?dry_run=true",
        {"name": "a", "size": 3, "tags": ["x", "y"]},
        headers={"Idempotency-Key": "k1", "Heliosphere-Reason": "because"},
    )
    assert reply.status == 200
    assert reply.json == {"change": 7, "result": {"name": "a"}, "plan": None, "since": None}
    assert reply.headers["Heliosphere-Change"] == "7"
    (asked,) = site.runner.asked
    assert asked.request == Thing("a", 3, ("x", "y"))
    assert (asked.name, asked.idempotency_key, asked.dry_run, asked.reason) == (
        "thing.add",
        "k1",
        True,
        "because",
    )
    assert (asked.principal.actor, asked.principal.origin) == ("operator:ann", "api 127.0.0.1")


@ensureDeferred
async def test_differences_are_asked_for_with_a_dry_run(site: Site) -> None:
    for flags in ("dry_run=true", "dry_run=true&diff=true", "dry_run=true&diff=false"):
        await site.ask("DELETE", f"/api/v1/things/a?{flags}")
    assert [(asked.dry_run, asked.diff) for asked in site.runner.asked] == [
        (True, False),
        (True, True),
        (True, False),
    ]


@ensureDeferred
async def test_differences_of_a_real_write_are_refused(site: Site) -> None:
    reply = await site.ask("DELETE", "/api/v1/things/a?diff=true")
    assert site.runner.asked == []
    assert (reply.status, reply.json["id"]) == (422, "request.diff")


@ensureDeferred
async def test_query_and_path_are_read_by_the_types_of_the_request(site: Site) -> None:
    await site.ask("GET", "/api/v1/things?limit=5&names=a&names=b")
    await site.ask("GET", "/api/v1/things/caf%C3%A9")
    await site.ask("GET", "/api/v1/changes/12")
    await site.ask("DELETE", "/api/v1/things/a")
    assert [asked.request for asked in site.runner.asked] == [
        Page(5, ("a", "b")),
        Named("café"),
        ChangeId(12),
        Named("a"),
    ]


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("POST", "/things", {"name": "a", "sizes": 3}, "sizes"),
        ("POST", "/things", {"size": 3}, "name"),
        ("POST", "/things", {"name": "a", "size": "3"}, "size"),
        ("POST", "/things", {"name": "a", "size": 1.5}, "size"),
        ("POST", "/things", {"name": "a", "tags": ["x", 3]}, "tags[1]"),
        ("POST", "/things", {"name": None}, "name"),
        ("POST", "/things?size=3", {"name": "a"}, "size"),
        ("PATCH", "/things/a", {"name": "b"}, "name"),
        ("GET", "/things?limit=x", None, "limit"),
        ("GET", "/things?limit=1&limit=2", None, "limit"),
        ("GET", "/things?other=1", None, "other"),
        ("GET", "/changes/x", None, "id"),
        ("POST", "/things?dry_run=maybe", {"name": "a"}, "dry_run"),
        ("POST", "/things?dry_run=true&diff=maybe", {"name": "a"}, "diff"),
    ],
)
@ensureDeferred
async def test_a_field_at_fault_is_named_and_nothing_runs(
    site: Site, method: str, path: str, body: object, field: str
) -> None:
    reply = await site.ask(method, "/api/v1" + path, body)
    assert (reply.status, reply.json["field"]) == (422, field)
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json["allowed"]
    assert site.runner.asked == []


@pytest.mark.parametrize(
    ("body", "detail", "allowed"),
    [
        ({"name": "a", "size": "3"}, "size is text", "a whole number"),
        ({"name": "a", "size": 1.5}, "size is a number", "a whole number"),
        ({"name": 3}, "name is a whole number", "text"),
        ({"name": "a", "version": "x"}, "version is text", "a whole number or nothing"),
        ({"name": "a", "tags": "x"}, "tags is text", "a list"),
        ({"name": "a", "tags": ["x", None]}, "tags[1] is nothing", "text"),
    ],
)
@ensureDeferred
async def test_a_value_of_the_wrong_kind_is_told_in_words(
    site: Site, body: object, detail: str, allowed: str
) -> None:
    told = (await site.ask("POST", "/api/v1/things", body)).json
    assert (told["detail"], told["allowed"]) == (detail, allowed)


@ensureDeferred
async def test_a_secret_field_at_fault_is_not_repeated(site: Site) -> None:
    reply = await site.ask("POST", "/api/v1/things", {"name": "a", "secret": 31337})
    assert reply.json["field"] == "secret"
    assert b"31337" not in reply.body


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"name": ' * 100_000 + b"1" + b"}" * 100_000, "application/json", 400),
        (b'{"name": NaN}', "application/json", 400),
        (b'{"name": "\xff"}', "application/json", 400),
        (b'{"name": "a", "name": "b"}', "application/json", 422),
        (b'{"name": "a", "n\\u0061me": "b"}', "application/json", 422),
        (b'{"name": "a", "more": [{"x": 1, "x": 2}]}', "application/json", 422),
        (b'{"name":"a"}', "text/plain", 415),
        (b"name=a", "application/x-www-form-urlencoded", 415),
        (b'{"name":"a"}', "application/jsonx", 415),
        (b'{"name":"' + b"a" * 1_100_000 + b'"}', "application/json", 413),
        (b'{"name":"' + b"a" * 9_000_000 + b'"}', "application/json", 413),
    ],
)
@ensureDeferred
async def test_a_body_that_cannot_be_read_is_refused(
    site: Site, body: bytes, kind: str, status: int
) -> None:
    try:
        reply = await site.ask("POST", "/api/v1/things", body, headers={"Content-Type": kind})
    except ConnectionError:  # closed while we were still sending: only for the largest
        assert status == 413
    else:
        assert (reply.status, reply.json["status"]) == (status, status)
    assert site.runner.asked == []


@ensureDeferred
async def test_an_import_may_be_larger(site: Site) -> None:
    text = "x" * 2_000_000
    reply = await site.ask("PUT", "/api/v1/things/a/import", {"tags": [text]})
    assert reply.status == 200
    assert site.runner.asked[0].request == Thing("a", tags=(text,))
    assert site.site.large_bodies == 0


@ensureDeferred
async def test_a_command_error_is_told_as_a_problem(site: Site) -> None:
    site.runner.answer = lambda asked: refusal(field="name", value="\x1b[2J", allowed="a-z")
    reply = await site.ask("POST", "/api/v1/things", {"name": "a"})
    assert (reply.status, reply.json) == (
        422,
        {
            "type": "urn:heliosphere:problem:thing.invalid",
            "id": "thing.invalid",
            "title": "A value is not valid",
            "detail": "the thing is invalid",
            "status": 422,
            "field": "name",
            "value": "\x1b[2J",
            "allowed": "a-z",
        },
    )
    assert b"\x1b" not in reply.body


@ensureDeferred
async def test_a_failure_tells_its_incident_and_no_more(
    site: Site, logged_errors: LoggedErrors
) -> None:
    site.runner.answer = lambda asked: RuntimeError("the innermost secret")
    reply = await site.ask("GET", "/api/v1/things")
    assert (reply.status, reply.json["id"]) == (500, "controller.failed")
    assert b"innermost" not in reply.body
    assert b"Traceback" not in reply.body
    (logged,) = logged_errors.flush()
    assert "the innermost secret" in logged


@ensureDeferred
async def test_a_failure_after_the_client_hung_up_is_logged_as_what_it_was(
    site: Site, logged_errors: LoggedErrors
) -> None:
    asked = Event()
    answer: Deferred[Any] = Deferred()

    async def answering() -> Any:
        asked.set()
        return await answer

    def ask_and_hang_up() -> None:
        client = http.client.HTTPSConnection("127.0.0.1", site.port, context=site.context())
        client.request("GET", "/api/v1/things", headers={"Authorization": f"Bearer {TOKEN}"})
        asked.wait(30)
        client.close()

    site.runner.answer = lambda _: answering()
    await deferToThread(ask_and_hang_up)
    while site.tls.protocols:
        await deferLater(reactor, 0.01)
    answer.errback(RuntimeError("too late for anybody"))
    await deferLater(reactor, 0)
    (logged,) = logged_errors.flush()
    assert "too late for anybody" in logged
    assert "AttributeError" not in logged


@pytest.mark.parametrize(
    ("error", "id"),
    [
        (DatabaseUnavailableError("x"), "database.away"),
        (DatabaseUnavailableError("x", "full"), "database.full"),
        (CommitUnknownError("x"), "commit.unknown"),
    ],
)
@ensureDeferred
async def test_a_database_that_is_away_is_told_as_such(
    site: Site, error: Exception, id: str
) -> None:
    site.runner.answer = lambda asked: error
    reply = await site.ask("GET", "/api/v1/things")
    assert (reply.status, reply.json["id"]) == (503, id)


@ensureDeferred
async def test_a_version_goes_out_as_etag_and_comes_back_as_if_match(site: Site) -> None:
    site.runner.answer = lambda asked: Told({"name": "a", "version": 3})
    reply = await site.ask("GET", "/api/v1/things/a")
    assert reply.headers["ETag"] == '"v3"'
    etag = {"If-Match": reply.headers["ETag"]}
    await site.ask("PATCH", "/api/v1/things/a", {}, headers=etag)
    assert site.runner.asked[-1].request == Thing("a", version=3)
    refused = await site.ask("DELETE", "/api/v1/things/a", headers=etag)
    assert (refused.status, refused.json["field"]) == (422, "If-Match")


@ensureDeferred
async def test_head_is_get_without_a_body(site: Site) -> None:
    reply = await site.ask("HEAD", "/api/v1/things")
    assert (reply.status, reply.body) == (200, b"")
    assert site.runner.asked[0].name == "thing.list"


@ensureDeferred
async def test_a_method_without_a_command_is_told_what_there_is(site: Site) -> None:
    reply = await site.ask("PUT", "/api/v1/things", {})
    assert (reply.status, reply.headers["Allow"]) == (405, "GET, HEAD, POST")


@pytest.mark.parametrize("key", ["", "a b", "x" * 129])
@ensureDeferred
async def test_an_odd_idempotency_key_is_refused(site: Site, key: str) -> None:
    reply = await site.ask(
        "POST", "/api/v1/things", {"name": "a"}, headers={"Idempotency-Key": key}
    )
    assert (reply.status, reply.json["field"]) == (422, "Idempotency-Key")


@ensureDeferred
async def test_a_wait_ends_when_the_change_moves(site: Site) -> None:
    state = {"id": 4, "state": "pending", "lanes": [{"box": "ns1", "state": "sending"}]}
    site.runner.answer = lambda asked: Told(state)
    first = await site.ask("GET", "/api/v1/changes/4")
    seen = first.json["seen"]

    reads: list[Deferred[None]] = [Deferred(), Deferred()]

    def answer(asked: object) -> Told:
        if reads:
            reads.pop(0).callback(None)
        return Told(state)

    began, again = reads
    site.runner.answer = answer
    waiting = start(site.ask("GET", f"/api/v1/changes/4?wait=50&seen={seen}"))
    await began
    site.bus.heard('{"change": 99}')
    assert not again.called
    site.bus.heard('{"change": 4}')
    await again
    state = {**state, "lanes": [{"box": "ns1", "state": "live"}]}
    site.bus.heard('{"change": 4}')
    reply = await waiting
    assert reply.json["lanes"][0]["state"] == "live"
    assert reply.json["seen"] != seen


@ensureDeferred
async def test_a_wait_ends_at_once_when_the_change_is_done(site: Site) -> None:
    site.runner.answer = lambda asked: Told({"id": 4, "state": "done", "lanes": []})
    reply = await site.ask("GET", "/api/v1/changes/4?wait=50")
    assert reply.json["state"] == "done"


@pytest.mark.parametrize("wait", ["x", "-1", "61", "nan"])
@ensureDeferred
async def test_an_odd_wait_is_refused(site: Site, wait: str) -> None:
    reply = await site.ask("GET", f"/api/v1/changes/4?wait={wait}")
    assert (reply.status, reply.json["field"]) == (422, "wait")


@ensureDeferred
async def test_the_openapi_document_is_served_to_who_is_signed_in(site: Site) -> None:
    reply = await site.ask("GET", "/api/v1/openapi.json")
    assert reply.json["paths"]["/things/{name}"]["get"]["operationId"] == "thing.show"
    assert (await site.ask("GET", "/api/v1/openapi.json", token=None)).status == 401


def start(coroutine: Any) -> "Deferred[Any]":
    return Deferred.fromCoroutine(coroutine)
