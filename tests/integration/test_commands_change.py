"""Changes: what one holds, how it is numbered, judged, repeated and kept from harm."""

import json
from base64 import b64encode
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import attrs
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults

from controller.fleet.committed import Committed, Pending, Watch
from controller.fleet.lane_store import backlogs, touched_by
from controller.principal import Principal
from controller.refusal import CommandError
from controller.runner import CommandResult, CommandRunner
from controller.storage.database import CommitUnknownError, Transaction
from controller.storage.link import Link
from templates.objects import ObjectId, decode_spec
from templates.registry import SERVICE_TYPES
from templates.service_type import SERVER_ID, LaneContext, Unit
from tests.integration.model import OPERATOR, Model


async def add_record(model: Model, name: str, **more: Any) -> CommandResult:
    return await model.run(
        "record.add", domain="shop.test", name=name, type="A", values=("192.0.2.7",), **more
    )


@attrs.define
class NotedHandover:
    """Notes what is handed over, and which changes it still waits for."""

    taken: list[Committed] = attrs.field(factory=list)
    open: set[int] = attrs.field(factory=set)

    def committing(self, change_id: int) -> None:
        self.open.add(change_id)

    def committed(self, change: Committed) -> None:
        assert change.change_id in self.open
        self.taken.append(change)

    def ended(self, change_id: int) -> None:
        self.open.discard(change_id)


async def connect(model: Model) -> None:
    """Make every box connected and every lane done with what it has."""
    await model.write(
        """UPDATE box SET connected = true, first_seen_at = now();
           UPDATE lane l SET stored_revision = s.revision, settled_revision = s.revision,
                             condition = 'ok'
           FROM logical_server s WHERE s.id = l.logical_server_id"""
    )


_SHOP = """
SELECT o.spec FROM desired_object o JOIN zone z ON z.name = o.key
JOIN zone_server n ON n.zone_id = z.id AND n.logical_server_id = o.logical_server_id
WHERE z.name = 'shop.test' AND n.role = 'master'
"""


@pytest_twisted.ensureDeferred
async def test_a_change_says_who_what_and_how_it_was(model: Model) -> None:
    await model.shop()
    was = await model.rows(_SHOP)
    done = await add_record(model, "www2")
    shown = await model.ask("change.show", id=done.change_id)
    assert (shown["actor"], shown["origin"], shown["command"]) == (
        "operator:ada",
        "test",
        "record.add",
    )
    assert shown["request"]["name"] == "www2"
    assert shown["rows"] == [
        {
            "relation": "record",
            "key": "shop.test www2 A",
            "before": None,
            "after": {
                "name": "www2",
                "type": "A",
                "ttl": 3600,
                "data": "192.0.2.7",
                "generated": False,
            },
        }
    ]
    ((before, after),) = await model.rows(
        "SELECT before, after FROM change_object WHERE change_id = %s", (done.change_id,)
    )
    assert [(before,)] == was
    assert [(after,)] == await model.rows(_SHOP)
    assert before != after


@pytest_twisted.ensureDeferred
async def test_each_object_has_a_revision_of_its_own_and_none_is_left_out(model: Model) -> None:
    await model.shop()
    await add_record(model, "www2")
    for server in ("ns1", "ns2", "web1"):
        revisions = await model.rows(
            """SELECT o.revision, s.revision FROM desired_object o
               JOIN logical_server s ON s.id = o.logical_server_id
               WHERE s.name = %s ORDER BY 1""",
            (f"{server}.example.net",),
        )
        assert len({revision for revision, _ in revisions}) == len(revisions)
        assert revisions[-1][0] == revisions[0][1]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the database, a text for each round trip."""
    texts: list[str] = []
    ask = Link.ask

    def noted(link: Link, sql: str, parameters: Sequence[object] | None) -> object:
        if not sql.startswith("PREPARE"):
            texts.append(sql)
        return ask(link, sql, parameters)

    monkeypatch.setattr(Link, "ask", noted)
    return texts


def committed_after(asked: Sequence[str]) -> int:
    """Give how many round trips came before the one with the COMMIT."""
    return next(place for place, sql in enumerate(asked) if sql.endswith("; COMMIT"))


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("key", [None, "a-key"])
async def test_a_record_takes_three_round_trips_to_its_commit(
    model: Model, asked: list[str], key: str | None
) -> None:
    """The zone, the servers with what stands there, and all that is written with its COMMIT."""
    await model.shop()
    asked.clear()
    done = await add_record(model, "www2", idempotency_key=key)
    commit = committed_after(asked)
    assert commit == 2 + (key is not None), asked  # a key is claimed before anything else
    assert (await model.state(done.change_id)).id == done.change_id


@pytest_twisted.ensureDeferred
async def test_a_domain_takes_six_round_trips_to_its_commit(model: Model, asked: list[str]) -> None:
    """The account, names beside it, the servers of both groups, its site, the servers' rows."""
    await model.shop()
    asked.clear()
    await model.run("domain.add", name="another.test", account="acme")
    assert committed_after(asked) == 5, asked


@pytest_twisted.ensureDeferred
async def test_a_zone_that_changes_reloads_nobody_and_a_setting_does(model: Model) -> None:
    await model.shop()
    dry = await add_record(model, "www2", dry_run=True)
    assert dry.plan is not None
    assert dry.plan.words[-1] == "nothing reloads"
    dry = await model.run(
        "lserver.set", dry_run=True, name="web1.example.net", settings={"timeout": 45}
    )
    assert dry.plan is not None
    assert dry.plan.words[-1] == "web1.example.net reloads"


@pytest_twisted.ensureDeferred
async def test_changes_at_once_lose_nothing(model: Model) -> None:
    await model.shop()
    work = [add_record(model, f"h{number}") for number in range(12)]
    work += [model.run("domain.add", name=f"d{number}.test", account="acme") for number in range(6)]
    await gatherResults([ensureDeferred(one) for one in work])
    listed = await model.ask("record.list", domain="shop.test", limit=100)
    assert sum(r["name"].startswith("h") for r in listed["items"]) == 12
    serials = await model.rows(
        "SELECT serial FROM change_watch WHERE zone = 'shop.test' ORDER BY change_id"
    )
    assert len(set(serials)) == 13


@pytest_twisted.ensureDeferred
async def test_s34_two_accounts_at_once_do_not_get_related_names(model: Model) -> None:
    await model.shop()
    await model.ask("account.add", name="other")
    outcomes = []

    async def attempt(name: str, account: str) -> None:
        try:
            await model.run("domain.add", name=name, account=account)
            outcomes.append("added")
        except CommandError as error:
            outcomes.append(error.id)

    await gatherResults(
        [
            ensureDeferred(attempt("big.test", "acme")),
            ensureDeferred(attempt("mail.big.test", "other")),
        ]
    )
    assert sorted(outcomes)[0] == "added"
    assert sorted(outcomes)[1].startswith("domain.")


@pytest_twisted.ensureDeferred
async def test_a_change_wakes_the_dispatcher_and_the_views_after_its_commit(model: Model) -> None:
    await model.shop()
    heard: list[tuple[str, str]] = []
    both: Deferred[None] = Deferred()

    def hear(channel: str, payload: str) -> None:
        heard.append((channel, payload))
        if len(heard) == 2:
            both.callback(None)

    await model.database.listen("hs_change", lambda payload: hear("hs_change", payload))
    await model.database.listen("hs_event", lambda payload: hear("hs_event", payload))
    await add_record(model, "dry", dry_run=True)
    done = await add_record(model, "www2")
    await both
    assert dict(heard)["hs_change"] == str(done.change_id)
    assert json.loads(dict(heard)["hs_event"]) == {"change": done.change_id}


@pytest_twisted.ensureDeferred
async def test_what_is_handed_over_is_what_would_be_read(model: Model) -> None:
    await model.cluster()
    handover = NotedHandover()
    model.runner = CommandRunner(model.database, model.registry, handover)
    await model.ask("account.add", name="acme")
    for command, fields in (
        ("domain.add", {"name": "shop.test", "account": "acme"}),
        ("record.add", {"domain": "shop.test", "name": "a", "type": "A", "values": ("192.0.2.7",)}),
        ("domain.delete", {"name": "shop.test"}),
    ):
        before = dict(await model.rows("SELECT id::text, revision FROM logical_server"))
        boxes = dict(await model.rows("SELECT logical_server_id::text, box_id::text FROM lane"))
        handover.taken.clear()
        done = await model.run(command, **fields)
        (committed,) = handover.taken
        assert handover.open == set()
        assert committed.change_id == done.change_id
        assert {c.server: c.before for c in committed.servers}.items() <= before.items()

        async def read(
            tx: Transaction,
            before: dict[str, int] = before,
            boxes: dict[str, str] = boxes,
            change: int = committed.change_id,
        ) -> tuple[dict[str, tuple[Pending, ...]], set[Watch]]:
            lanes = {(boxes[server], server): revision for server, revision in before.items()}
            found = await backlogs(tx, lanes)
            _, watches = await touched_by(tx, [change])
            return {server: each.objects for (_, server), each in found.items()}, set(watches)

        objects, watches = await model.database.transaction(OPERATOR, read, name="test")
        assert {c.server: c.objects for c in committed.servers} == {
            server: pending for server, pending in objects.items() if pending
        }
        assert set(committed.watches) == watches


@pytest_twisted.ensureDeferred
async def test_nothing_is_handed_over_that_was_not_committed(model: Model) -> None:
    await model.shop()
    handover = NotedHandover()
    model.runner = CommandRunner(model.database, model.registry, handover)
    await add_record(model, "dry", dry_run=True)
    with pytest.raises(CommandError):
        await add_record(model, "..")
    assert handover.taken == []
    await add_record(model, "www2", idempotency_key="k1")
    await add_record(model, "www2", idempotency_key="k1")
    assert len(handover.taken) == 1
    assert handover.open == set()


@pytest_twisted.ensureDeferred
async def test_a_commit_of_which_nobody_knows_is_not_handed_over(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    await model.shop()
    handover = NotedHandover()
    model.runner = CommandRunner(model.database, model.registry, handover)

    async def lost(tx: Transaction) -> None:
        assert len(handover.open) == 1
        raise CommitUnknownError("the connection was lost during the commit")

    monkeypatch.setattr(Transaction, "commit", lost)
    with pytest.raises(CommitUnknownError):
        await add_record(model, "www2")
    assert (handover.taken, handover.open) == ([], set())


@pytest_twisted.ensureDeferred
async def test_a_repeated_key_answers_the_first_and_does_nothing_more(model: Model) -> None:
    await model.shop()
    first = await add_record(model, "www2", idempotency_key="k1")
    before = await model.footprint()
    again = await add_record(model, "www2", idempotency_key="k1")
    assert (again.change_id, again.result) == (first.change_id, first.result)
    assert await model.footprint() == before
    with pytest.raises(CommandError) as caught:
        await add_record(model, "www3", idempotency_key="k1")
    assert caught.value.status == 409


@pytest_twisted.ensureDeferred
async def test_a_dry_run_neither_uses_up_a_key_nor_answers_from_it(model: Model) -> None:
    await model.shop()
    await add_record(model, "www2", idempotency_key="k1", dry_run=True)
    done = await add_record(model, "www2", idempotency_key="k1")
    assert done.change_id is not None
    fields = {"domain": "shop.test", "name": "www3", "type": "A", "values": ("192.0.2.7",)}
    planned = await model.run("record.add", idempotency_key="k1", dry_run=True, **fields)
    assert planned.plan is not None


@pytest_twisted.ensureDeferred
async def test_an_account_may_not_run_the_providers_commands(model: Model) -> None:
    await model.shop()
    account = Principal("account", "customer:acme", account=1)
    with pytest.raises(CommandError) as caught:
        await model.run_as(account, "pserver.list")
    assert (caught.value.id, caught.value.status) == ("permission.denied", 403)


@pytest_twisted.ensureDeferred
async def test_s24_an_account_does_not_see_another_accounts_domain(model: Model) -> None:
    await model.shop()
    other = await model.ask("account.add", name="other")
    principal = Principal("account", "customer:other", account=other["id"])
    assert (await model.run_as(principal, "domain.list")).result["items"] == []
    with pytest.raises(CommandError) as caught:
        await model.run_as(principal, "record.list", domain="shop.test")
    assert (caught.value.id, caught.value.status) == ("domain.unknown", 404)


@pytest_twisted.ensureDeferred
async def test_a_change_is_done_when_master_and_secondary_have_it(model: Model) -> None:
    await model.shop()
    await connect(model)
    done = await add_record(model, "www2")
    assert (await model.state(done.change_id)).state == "pending"
    await connect(model)
    state = await model.state(done.change_id)
    assert state.state == "pending"
    assert {(lane.kind, lane.state) for lane in state.lanes} == {
        ("zone", "live"),
        ("zone-serial", "waiting"),
    }
    await model.write(
        """INSERT INTO zone_observation (box_id, logical_server_id, zone, serial)
           SELECT l.box_id, w.logical_server_id, w.zone, w.serial FROM change_watch w
           JOIN lane l ON l.logical_server_id = w.logical_server_id WHERE w.change_id = %s""",
        (done.change_id,),
    )
    assert (await model.state(done.change_id)).state == "done"


@pytest_twisted.ensureDeferred
async def test_p5_a_box_that_is_away_makes_a_change_unknown_not_done(model: Model) -> None:
    await model.shop()
    done = await add_record(model, "www2")
    state = await model.state(done.change_id)
    assert state.state == "pending"
    assert {lane.state for lane in state.lanes} == {"unknown"}


@pytest_twisted.ensureDeferred
async def test_what_a_box_could_not_apply_fails_the_change_and_is_a_fault(model: Model) -> None:
    await model.shop()
    await connect(model)
    done = await add_record(model, "www2")
    await connect(model)
    await model.write(
        """INSERT INTO object_outcome (box_id, logical_server_id, kind, key, revision, outcome,
                                       message)
           SELECT l.box_id, c.logical_server_id, c.kind, c.key, c.revision, 'quarantined', 'no'
           FROM change_object c JOIN lane l ON l.logical_server_id = c.logical_server_id
           WHERE c.change_id = %s""",
        (done.change_id,),
    )
    state = await model.state(done.change_id)
    assert state.state == "failed"
    assert [lane.message for lane in state.lanes if lane.state == "quarantined"] == ["no"]
    (fault,) = (await model.ask("fault.list"))["items"]
    assert (fault["kind"], fault["key"], fault["state"]) == ("zone", "shop.test", "quarantined")
    await model.ask("fault.retry", lserver=fault["logical_server"], kind="zone", key="shop.test")
    ((asked, kind, key),) = model.fleet.retried
    assert (kind, key) == ("zone", "shop.test")
    shown = await model.ask("lserver.show", name=fault["logical_server"])
    assert asked == shown["id"]
    model.fleet.away.update(box for (box,) in await model.rows("SELECT id FROM box"))
    with pytest.raises(CommandError) as away:
        await model.ask("fault.retry", lserver=fault["logical_server"])
    assert away.value.id == "pserver.away"
    assert len(model.fleet.retried) == 1


@pytest_twisted.ensureDeferred
async def test_a_lane_in_trouble_is_a_fault_and_a_box_condition(model: Model) -> None:
    await model.shop()
    await connect(model)
    await model.write(
        """UPDATE lane SET condition = 'daemon-down', message = 'named died'
           FROM logical_server s WHERE s.id = logical_server_id AND s.name = 'ns1.example.net'"""
    )
    (fault,) = (await model.ask("fault.list"))["items"]
    assert (fault["box"], fault["state"], fault["message"]) == ("ns1", "daemon-down", "named died")
    assert "daemon down" in (await model.ask("pserver.show", name="ns1"))["conditions"]


@pytest_twisted.ensureDeferred
async def test_changes_are_listed_newest_first_with_their_state(model: Model) -> None:
    await model.shop()
    first = await model.ask("change.list", limit=2)
    assert [c["command"] for c in first["items"]] == ["domain.add", "account.add"]
    assert [c["state"] for c in first["items"]] == ["pending", "done"]
    rest = await model.ask("change.list", limit=100, cursor=first["next"])
    assert rest["items"][0]["id"] < first["items"][1]["id"]
    only = await model.ask("change.list", command="ip.add")
    assert {c["command"] for c in only["items"]} == {"ip.add"}
    assert (await model.refused("change.show", id=10**6)).status == 404


@pytest_twisted.ensureDeferred
async def test_every_projected_object_is_one_that_its_service_type_can_plan(model: Model) -> None:
    await model.shop()
    for type_, values in (
        ("MX", ("10 mail",)),
        ("TXT", ('v=x; "q" \\ $INCLUDE x', "y" * 300)),
        ("CAA", ("0 issue ca.test",)),
        ("SRV", ("0 0 5060 sip",)),
        ("CNAME", ("_x.other.test",)),
    ):
        await model.ask(
            "record.add", domain="shop.test", name=f"{type_.lower()}x", type=type_, values=values
        )
    await model.ask("domain.add", name="b.test", account="acme")
    await model.ask("site.set", name="b.test", indexes=True)
    found = await model.rows(
        """SELECT s.name, s.service_type, o.kind, o.key, o.kind_version, o.spec, o.secrets
           FROM desired_object o JOIN logical_server s ON s.id = o.logical_server_id
           WHERE NOT o.deleted"""
    )
    planned = set()
    for server in {row[0] for row in found}:
        service_type = SERVICE_TYPES[next(row[1] for row in found if row[0] == server)]
        objects = {}
        for _, _, kind, key, version, spec, secrets in (r for r in found if r[0] == server):
            clear = await inlined(model, bytes(spec), secrets)
            objects[ObjectId(kind, key)] = decode_spec(service_type.kinds[kind], version, clear)
        context = LaneContext(
            lane="lane",
            server=objects[SERVER_ID],
            root=PurePosixPath("/var/lib/heliosphere/lane"),
            daemon_user=None,
            modules=PurePosixPath("/usr/lib/apache2/modules"),
            control_secret=b64encode(bytes(32)).decode(),
        )
        for name, spec in objects.items():
            unit = service_type.kinds[name.kind].unit(name.key, spec)
            plan = service_type.plan(context, Unit(unit, {}), Unit(unit, {name: spec}))
            assert plan.files or plan.control
            planned.add((service_type.name, name.kind))
    assert planned == {
        ("bind", "server"),
        ("bind", "zone"),
        ("apache", "server"),
        ("apache", "site"),
    }


async def inlined(model: Model, spec: bytes, secrets: list[int]) -> bytes:
    """Give a spec as the dispatcher would send it."""

    async def read(tx: Transaction) -> bytes:
        return await model.secrets.inline(tx, spec, secrets)

    return await model.database.transaction(OPERATOR, read, name="test")
