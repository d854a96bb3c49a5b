"""Third-level hosting and the own site with real daemons: what the model writes, they answer."""

from collections.abc import Iterator

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rrset
import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.threads import deferToThread

from templates.apache.objects import SITE
from templates.bind.objects import ZONE
from templates.objects import ObjectId, decode_spec
from tests.integration.model import Model
from tests.integration.named_lane import NamedLane
from tests.integration.test_apache_real import ask, make_lane, remove_lane
from tests.integration.test_service_domain import BELOW, third_level

pytest_plugins = ("tests.integration.model",)

PATIENT = 20.0
"""Seconds that a busy machine may take; no test waits for them to pass."""


@pytest.fixture
def lane() -> Iterator[NamedLane]:
    made = NamedLane("ns1")
    try:
        made.set_up()
        yield made
    finally:
        made.tear_down()


async def zone(model: Model, name: str) -> object:
    """Give what the master of a zone is sent, without secondaries to notify."""
    ((spec, version),) = await model.rows(
        """SELECT o.spec, o.kind_version FROM desired_object o
           JOIN zone z ON z.name = o.key JOIN zone_server n ON n.zone_id = z.id
           AND n.role = 'master' AND n.logical_server_id = o.logical_server_id
           WHERE o.kind = 'zone' AND o.key = %s AND NOT o.deleted""",
        (name,),
    )
    return decode_spec(ZONE, version, bytes(spec))


async def asked(lane: NamedLane, name: str) -> dns.message.Message:
    query = dns.message.make_query(name, "A")
    return await deferToThread(
        dns.query.udp, query, lane.endpoint.address, PATIENT, lane.endpoint.port
    )


def texts(section: list[dns.rrset.RRset]) -> set[tuple[str, str]]:
    return {(rrset.name.to_text(), rdata.to_text()) for rrset in section for rdata in rrset}


@ensureDeferred
async def test_r21_bind_refers_to_the_zone_below_and_answers_from_it(
    model: Model, lane: NamedLane
) -> None:
    await third_level(model)
    await model.ask("domain.add", name=BELOW, account="acme")
    await lane.apply("example.net", await zone(model, "example.net"))
    referral = await asked(lane, f"www.{BELOW}")
    assert texts(referral.authority) == {
        (f"{BELOW}.", "ns1.example.net."),
        (f"{BELOW}.", "ns2.example.net."),
    }
    for number in (1, 2):
        glue = await asked(lane, f"ns{number}.example.net")
        assert texts(glue.answer) == {(f"ns{number}.example.net.", f"192.0.2.{number}")}
    await lane.apply(BELOW, await zone(model, BELOW))
    answer = await asked(lane, f"www.{BELOW}")
    assert texts(answer.answer) == {(f"www.{BELOW}.", "192.0.2.3")}
    assert answer.flags & dns.flags.AA
    await model.ask("domain.delete", name=BELOW)
    await lane.apply(BELOW, None)
    await lane.apply("example.net", await zone(model, "example.net"))
    assert (await asked(lane, f"www.{BELOW}")).rcode() == dns.rcode.NXDOMAIN


@ensureDeferred
async def test_r22_apache_answers_at_the_alias_before_the_delegation_is_changed(
    model: Model, lane: NamedLane
) -> None:
    await model.cluster()
    await model.ask("account.add", name="acme")
    await model.ask("service.set", instant_access=True)
    for name in ("plain.test", "own.test"):
        await model.ask("domain.add", name=name, account="acme")
    await model.ask("site.set", name="own.test", index=("index.html",))
    await lane.apply("example.net", await zone(model, "example.net"))
    found = await model.rows(
        "SELECT key, spec, kind_version FROM desired_object WHERE kind = 'site' ORDER BY key"
    )
    web = await make_lane(tls=False)
    try:
        # A plain site is a link, one with settings has a virtual host: each is a unit of its own.
        for key, spec, version in found:
            await web.put({ObjectId("site", key): decode_spec(SITE, version, bytes(spec))})
        for label, name in (("plain-test", "plain.test"), ("own-test", "own.test")):
            alias = f"{label}.example.net"
            assert texts((await asked(lane, alias)).answer) == {(f"{alias}.", "192.0.2.3")}
            for host in (alias, name):
                answer = ask(web.port, host)
                assert (answer.status, f"<h1>{name}</h1>" in answer.body) == (200, True), host
    finally:
        await remove_lane(web)


@ensureDeferred
async def test_r23_apache_answers_with_the_own_site_at_the_service_domain(
    model: Model, lane: NamedLane
) -> None:
    await model.cluster()
    await model.ask("account.add", name="provider")
    await model.ask("service.host", account="provider")
    await lane.apply("example.net", await zone(model, "example.net"))
    for name in ("example.net", "www.example.net"):
        assert texts((await asked(lane, name)).answer) == {(f"{name}.", "192.0.2.3")}
    ((spec, version),) = await model.rows(
        "SELECT spec, kind_version FROM desired_object WHERE kind = 'site' AND key = 'example.net'"
    )
    web = await make_lane(tls=False)
    try:
        await web.put({ObjectId("site", "example.net"): decode_spec(SITE, version, bytes(spec))})
        for name in ("example.net", "www.example.net"):
            answer = ask(web.port, name)
            assert (answer.status, "<h1>example.net</h1>" in answer.body) == (200, True)
    finally:
        await remove_lane(web)
