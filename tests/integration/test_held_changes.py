"""Changes that a hazard holds back: nothing is written until each is accepted by its number."""

import json
from typing import Any

import attrs
import pytest
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from controller.change_plan import Foreseen
from controller.changes import ChangeWriter, secret_field
from controller.commands import Command, Registry, Work
from controller.hazard_facts import facts_of
from controller.hazards import Facts, seal
from controller.history.approval import HeldChanges
from controller.holding import HeldBackError, Holding
from controller.principal import Principal, system
from controller.projection.zones import secondary_zone
from controller.refusal import CommandError
from controller.registry import EnrolmentInfo, build_registry
from controller.runner import CommandResult, CommandRunner
from controller.storage import held_changes
from controller.storage.database import Database, Transaction
from controller.storage.secrets import Secrets
from templates.bind.objects import ZONE
from tests.integration.applying import name_servers
from tests.integration.model import NOW, OPERATOR, Model, NotedFleet

NS1, NS2, NS3 = (f"ns{number}.example.net" for number in range(1, 4))
OTHER = Principal("provider", "operator:bob", origin="test")


async def zones(model: Model, count: int) -> None:
    """Make zones with ns1 as master and ns2 as slave, and a third name server for new ones."""
    await model.cluster()
    await model.ask("account.add", name="acme")
    await model.ask("dns.roles", master=NS1, slave1=NS2)
    for number in range(count):
        await model.ask("domain.add", name=f"z{number}.test", account="acme")
    await name_servers(model, 3)


async def leaving(model: Model, count: int, *, beside: int = 0) -> None:
    """Have ``count`` zones leave ns2, which serves ``beside`` more objects, for ns3."""
    await zones(model, count)
    await model.ask("dns.roles", master=NS1, slave1=NS3)
    await model.ask("lserver.signup", name=NS2, signup=False)
    await model.write(
        """INSERT INTO desired_object (logical_server_id, kind, key, revision, kind_version, spec,
                                       change_id)
           SELECT s.id, 'zone', 'more' || n || '.test', 1000 + n, 1, 'x', 1
           FROM logical_server s, generate_series(1, %s) n WHERE s.name = %s""",
        (beside, NS2),
    )


async def approve(model: Model, held: int, who: Principal = OTHER, **more: Any) -> CommandResult:
    """Approve, with ``hazard_id=number`` for each that is accepted."""
    how = {name: more.pop(name) for name in ("dry_run", "idempotency_key") if name in more}
    accept = {name.replace("_", "-"): number for name, number in more.items()}
    return await model.run_as(who, "change.approve", id=held, accept=accept, **how)


async def not_approved(model: Model, held: int, **accept: int) -> CommandError:
    """Give why an approval is refused, and see that it wrote nothing."""
    before = await model.footprint()
    with pytest.raises(CommandError) as caught:
        await approve(model, held, **accept)
    assert await model.footprint() == before
    return caught.value


async def moves(model: Model) -> int:
    ((count,),) = await model.rows("SELECT count(*) FROM zone_move")
    return int(count)


def ids(error: HeldBackError) -> dict[str, int]:
    return {hazard.id: hazard.number for hazard in error.hazards}


@ensureDeferred
async def test_a_change_of_root_ns_is_held_and_approved_in_the_name_of_both(model: Model) -> None:
    await zones(model, 2)
    held = await model.held("dns.apply")
    assert (held.id, held.status, ids(held)) == ("change.held", 409, {"root-ns": 2})
    assert held.message == (
        f"held back as {held.held}, nothing was written:"
        " changes the NS records at the top of 2 zones (root-ns)"
    )
    line = f"hsctl change approve {held.held} --accept root-ns=2 --shown {seal(held.hazards)}"
    assert held.allowed == line
    assert await moves(model) == 0

    (listed,) = (await model.ask("change.held"))["items"]
    assert (listed["asked_by"], listed["command"]) == ("operator:ada", "dns.apply")
    assert "2 zones change name servers" in listed["plan"]
    done = await approve(model, held.held, root_ns=2)
    assert done.result["zones"] == 2
    assert await moves(model) == 1
    change = await model.ask("change.show", id=done.change_id)
    assert (change["actor"], change["command"]) == ("operator:bob", "dns.apply")
    (row,) = [row for row in change["rows"] if row["relation"] == "held_change"]
    assert row["after"] == {
        "state": "approved",
        "asked_by": "operator:ada",
        "approved_by": "operator:bob",
        "accepted": ["root-ns=2"],
    }
    shown = await model.ask("change.show-held", id=held.held)
    assert (shown["state"], shown["ended_by"], shown["change"]) == (
        "approved",
        "operator:bob",
        done.change_id,
    )
    assert (await model.ask("change.held"))["items"] == []
    assert len((await model.ask("change.held", ended=True))["items"]) == 1


@ensureDeferred
async def test_a_hazard_is_accepted_by_its_id_and_its_number_and_by_no_other(model: Model) -> None:
    await zones(model, 2)
    held = (await model.held("dns.apply")).held
    error = await not_approved(model, held)
    assert error.id == "change.approve.not-accepted"
    assert "root-ns is not accepted" in error.message
    error = await not_approved(model, held, root_ns=3)
    assert "root-ns is accepted for 3, but it changes the NS records" in error.message
    error = await not_approved(model, held, mass_delete=2)
    assert "root-ns is not accepted" in error.message
    assert (await not_approved(model, held, force=2)).id == "change.approve.hazard"
    assert (await not_approved(model, held + 1, root_ns=2)).id == "change.held.unknown"
    assert await moves(model) == 0


@ensureDeferred
async def test_a_world_that_changed_since_is_shown_before_it_can_be_accepted(model: Model) -> None:
    await zones(model, 2)
    held = (await model.held("dns.apply")).held
    await model.ask("lserver.signup", name=NS3, signup=False)
    await model.ask("domain.add", name="late.test", account="acme")
    await model.ask("lserver.signup", name=NS3, signup=True)
    error = await not_approved(model, held, root_ns=2)
    assert "was: changes the NS records at the top of 2 zones; now it" in error.message
    shown = await model.ask("change.show-held", id=held)
    assert shown["hazards"][0]["number"] == 3
    line = f"hsctl change approve {held} --accept root-ns=3 --shown {shown['shown']}"
    assert error.allowed == line
    assert (await approve(model, held, root_ns=3)).result["zones"] == 3


@ensureDeferred
async def test_a_number_that_nobody_was_shown_is_not_accepted_at_once(model: Model) -> None:
    await zones(model, 2)
    held = (await model.held("dns.apply")).held
    await model.ask("lserver.signup", name=NS3, signup=False)
    await model.ask("domain.add", name="late.test", account="acme")
    await model.ask("lserver.signup", name=NS3, signup=True)
    assert "now it" in (await not_approved(model, held, root_ns=3)).message


@ensureDeferred
async def test_an_older_page_approves_nothing_that_was_judged_anew(model: Model) -> None:
    """Another's look may have renewed the words, at the same number: they are not what was seen."""
    await zones(model, 2)
    held = (await model.held("dns.apply")).held
    older = (await model.ask("change.show-held", id=held))["shown"]
    await model.write(
        "UPDATE held_change SET hazards = jsonb_set(hazards, '{0,words}', %s)",
        (json.dumps("changes the NS records of two other zones"),),
    )
    newer = (await model.ask("change.show-held", id=held))["shown"]
    before = await model.footprint()
    with pytest.raises(CommandError) as caught:
        await model.run_as(OTHER, "change.approve", id=held, accept={"root-ns": 2}, shown=older)
    assert await model.footprint() == before
    assert (caught.value.id, caught.value.status) == ("change.approve.not-shown", 409)
    assert "now it changes the NS records of two other zones" in caught.value.message
    assert str(caught.value.allowed).endswith(f"--accept root-ns=2 --shown {newer}")


@ensureDeferred
async def test_of_two_who_approve_at_once_one_does_it(model: Model) -> None:
    await zones(model, 1)
    held = (await model.held("dns.apply")).held
    outcomes: list[str] = []

    async def attempt(who: Principal) -> None:
        try:
            await approve(model, held, who, root_ns=1)
            outcomes.append("done")
        except CommandError as error:
            outcomes.append(error.message.rpartition(":")[0])

    await gatherResults([Deferred.fromCoroutine(attempt(who)) for who in (OPERATOR, OTHER)])
    assert sorted(outcomes) == [
        "dns.apply is not held any more: it was approved by operator",
        "done",
    ]
    assert await moves(model) == 1


@ensureDeferred
async def test_what_is_sent_twice_is_held_once_and_approved_once(model: Model) -> None:
    await zones(model, 1)
    numbers = set()
    for key in ("k", "k", "other", None):
        with pytest.raises(HeldBackError) as caught:
            await model.run_as(OPERATOR, "dns.apply", idempotency_key=key)
        numbers.add(caught.value.held)
    assert len(numbers) == 1
    (held,) = numbers
    first = await approve(model, held, root_ns=1, idempotency_key="a")
    again = await approve(model, held, root_ns=1, idempotency_key="a")
    assert (again.change_id, again.result) == (first.change_id, first.result)
    assert await moves(model) == 1
    with pytest.raises(CommandError) as ended:
        await model.run_as(OPERATOR, "dns.apply", idempotency_key="k")
    assert ended.value.id == "change.held.ended"


@ensureDeferred
async def test_a_dry_run_shows_the_hazards_and_holds_nothing(model: Model) -> None:
    await zones(model, 2)
    before = await model.footprint()
    dry = await model.run("dns.apply", dry_run=True)
    assert dry.plan is not None
    assert [(each.id, each.number) for each in dry.plan.hazards] == [("root-ns", 2)]
    assert dry.plan.words[-1] == (
        "is held back: changes the NS records at the top of 2 zones (root-ns=2)"
    )
    assert await model.rows("SELECT 1 FROM held_change") == []
    held = (await model.held("dns.apply")).held
    dry = await approve(model, held, dry_run=True)
    assert dry.plan is not None
    assert [each.accepted for each in dry.plan.hazards] == ["root-ns=2"]
    assert await model.footprint() == before
    assert (await model.ask("change.show-held", id=held))["state"] == "held"


@pytest.mark.parametrize(
    ("count", "beside", "mass"),
    [(19, 0, False), (20, 0, True), (20, 378, False), (20, 377, True)],
)
@ensureDeferred
async def test_a_mass_delete_by_a_job_is_held_from_its_limits_on(
    model: Model, count: int, beside: int, mass: bool
) -> None:
    await leaving(model, count, beside=beside)
    held = await model.held("dns.apply", allow_fewer=True)
    # Beside the zones that leave, the cluster's own one and the server itself: of 400, 20 are 5 %.
    words = f"removes {count} of {count + 2 + beside} objects from {NS2}"
    told = [hazard.words for hazard in held.hazards if hazard.id == "mass-delete"]
    assert told == ([words] if mass else [])
    assert ids(held) == {"root-ns": count} | ({"mass-delete": count} if mass else {})


@ensureDeferred
async def test_each_of_several_hazards_must_be_accepted(model: Model) -> None:
    await leaving(model, 20)
    held = (await model.held("dns.apply", allow_fewer=True)).held
    assert "root-ns is not" in (await not_approved(model, held, mass_delete=20)).message
    assert "mass-delete is not" in (await not_approved(model, held, root_ns=20)).message
    assert (await approve(model, held, root_ns=20, mass_delete=20)).result["zones"] == 20


@ensureDeferred
async def test_the_audit_names_what_was_accepted_and_nothing_else(model: Model) -> None:
    """A hazard that was shown, and is none any more, was accepted by nobody."""
    await leaving(model, 20)
    held = (await model.held("dns.apply", allow_fewer=True)).held
    await model.write(
        """UPDATE held_change SET hazards = hazards || '[{"id": "last-name-server", "number": 1,
           "words": "removes the last name server of 1 zone: z0.test"}]'"""
    )
    done = await approve(model, held, root_ns=20, mass_delete=20)
    change = await model.ask("change.show", id=done.change_id)
    (row,) = [row for row in change["rows"] if row["relation"] == "held_change"]
    assert row["after"]["accepted"] == ["mass-delete=20", "root-ns=20"]


@ensureDeferred
async def test_removals_that_a_change_writes_itself_count_as_those_of_a_job(model: Model) -> None:
    """No command of today writes so many at once; the guard does not rely on that."""
    await leaving(model, 1, beside=25)

    async def drop(work: Work, request: Nothing) -> None:
        for number in range(1, request.count + 1):
            await work.change.remove(server, ZONE, f"more{number}.test")
        await work.change.upsert(server, ZONE, "new.test", secondary_zone(()))

    ((server,),) = await model.rows("SELECT id::text FROM logical_server WHERE name = %s", (NS2,))
    runner = running(model, drop)
    done = await runner.run(OPERATOR, "zone.drop", Nothing(19), dry_run=True)
    assert done.plan is not None
    assert done.plan.hazards == ()
    with pytest.raises(HeldBackError) as caught:
        await runner.run(OPERATOR, "zone.drop", Nothing(20))
    assert [hazard.words for hazard in caught.value.hazards] == [
        f"removes 20 of 28 objects from {NS2}"
    ]


@attrs.frozen
class Nothing:
    count: int = 0
    password: str = secret_field(default="", once=True)


def running(model: Model, function: Any, permission: Any = "account.write") -> CommandRunner:
    """Give a runner of one more command than the product has."""
    command = Command("zone.drop", "POST", "/x", Nothing, permission, "Drop", function)
    return CommandRunner(model.database, Registry((command,)), holding=Holding(model.secrets))


@pytest.mark.parametrize(
    ("who", "request_"),
    [
        (Principal("account", "account:acme", 1), Nothing()),
        (OPERATOR, Nothing(password="used once")),
    ],
)
@ensureDeferred
async def test_what_must_not_be_kept_is_refused_and_not_held(
    model: Model, who: Principal, request_: Nothing
) -> None:
    """An account's request would be run as an operator; a password leaves no trace at all."""
    await model.shop()

    async def not_asked(rehearsal: Work) -> None:
        raise AssertionError("no box is to be asked")

    async def hazardous(work: Work, request: Nothing) -> None:
        work.change.foresee(Foreseen(("all",), redelegated=1), not_asked)

    with pytest.raises(CommandError) as caught:
        await running(model, hazardous).run(who, "zone.drop", request_)
    assert caught.value.id == "change.hazard"
    assert await model.rows("SELECT 1 FROM held_change") == []


@ensureDeferred
async def test_the_last_name_server_goes_only_when_somebody_accepts_it(model: Model) -> None:
    await model.cluster()
    one = await model.held("ip.delete", ip="192.0.2.2")
    assert ids(one) == {"root-ns": 1}
    assert "example.net" in one.message
    done = await approve(model, one.held, root_ns=1)
    last = await model.held("ip.delete", ip="192.0.2.1")
    assert ids(last) == {"last-name-server": 1}
    assert "removes the last name server of 1 zone: example.net" in last.message
    await model.ask("change.withdraw", id=last.held)
    error = await not_approved(model, last.held, last_name_server=1)
    assert (error.id, error.message) == (
        "change.held.ended",
        "ip.delete is not held any more: it was withdrawn by operator:ada",
    )

    # As undoable as if it had never been held.
    await model.ask("change.undo", id=done.change_id)
    assert (await model.ask("ip.show", ip="192.0.2.2"))["logical_server"] == NS2


@ensureDeferred
async def test_a_box_with_the_last_name_server_is_retired_only_on_acceptance(model: Model) -> None:
    await zones(model, 2)
    await model.ask("pserver.retire", name="ns2", box_is_gone=True)
    held = await model.held("pserver.retire", name="ns1", box_is_gone=True)
    assert ids(held) == {"last-name-server": 2}
    assert "z0.test, z1.test" in held.message
    assert model.fleet.revoked == []
    await approve(model, held.held, last_name_server=2)
    assert (await model.ask("pserver.show", name="ns1"))["intent"] == "draining"


_WAITING = """
SELECT 1 FROM pg_locks JOIN pg_database d ON d.oid = database
WHERE locktype = 'advisory' AND NOT granted AND d.datname = current_database()
"""


@ensureDeferred
async def test_of_two_boxes_retired_at_once_the_second_takes_the_last_name_server(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second is judged while the first is not committed: it must wait for what that left."""
    await zones(model, 1)
    retire = model.registry["pserver.retire"]
    retired: dict[str, Deferred[None]] = {"ns1": Deferred(), "ns2": Deferred()}
    first_judged: Deferred[None] = Deferred()
    judged: list[Facts] = []

    async def together(work: Work, request: Any) -> Any:
        answer = await retire.function(work, request)
        retired[request.name].callback(None)
        await (retired["ns2"] if request.name == "ns1" else first_judged)
        return answer

    async def in_turn(tx: Transaction, change: ChangeWriter, **more: Any) -> Facts:
        facts = await facts_of(tx, change, **more)
        judged.append(facts)
        if len(judged) == 1:
            first_judged.callback(None)
            while len(judged) == 1 and not await tx.rows(_WAITING):
                await deferLater(reactor, 0)
        return facts

    monkeypatch.setattr("controller.runner.facts_of", in_turn)
    registry = Registry((attrs.evolve(retire, function=together),))
    runner = CommandRunner(model.database, registry, holding=Holding(model.secrets))
    outcomes: dict[str, dict[str, int]] = {}

    async def attempt(box: str) -> None:
        try:
            await runner.run(OPERATOR, "pserver.retire", retire.request(box, True))
            outcomes[box] = {}
        except HeldBackError as error:
            outcomes[box] = ids(error)

    await gatherResults([Deferred.fromCoroutine(attempt(box)) for box in retired])
    assert outcomes == {"ns1": {}, "ns2": {"last-name-server": 1}}


@ensureDeferred
async def test_as_many_others_are_not_what_was_shown(model: Model) -> None:
    """Of many zones the words name a few: one of the rest is another one by now."""
    await zones(model, 6)
    await model.ask("pserver.retire", name="ns2", box_is_gone=True)
    held = await model.held("pserver.retire", name="ns1", box_is_gone=True)
    words = "removes the last name server of 6 zones: z0.test, z1.test, z2.test and 3 more"
    assert words in held.message
    await model.write("UPDATE zone SET name = 'z9.test' WHERE name = 'z5.test'")
    error = await not_approved(model, held.held, last_name_server=6)
    assert f"last-name-server is about others than it was: it {words}" in error.message
    await approve(model, held.held, last_name_server=6)


@pytest.mark.parametrize(
    ("since", "words"),
    [
        ("""request = request || '{"only": "z0.test"}'""", "takes other fields now"),
        ("""request = '{"allow_fewer": "many"}'""", "takes other fields now"),
        ("command = 'dns.former'", "is no command of this version"),
    ],
)
@ensureDeferred
async def test_what_this_version_reads_otherwise_is_not_run(
    model: Model, since: str, words: str
) -> None:
    """A field that a command has no more may have been what kept it small."""
    await zones(model, 2)
    held = (await model.held("dns.apply")).held
    await model.write(f"UPDATE held_change SET {since}")  # as an older version may have kept it
    error = await not_approved(model, held, root_ns=2)
    assert (error.id, words in error.message) == ("change.held.unreadable", True)
    await model.ask("change.withdraw", id=held)


@ensureDeferred
async def test_what_is_asked_again_after_its_time_is_held_anew(model: Model) -> None:
    await zones(model, 1)
    held = (await model.held("dns.apply")).held
    await model.write("UPDATE held_change SET expires_at = now()")
    again = (await model.held("dns.apply")).held
    assert again != held
    assert (await model.ask("change.show-held", id=held))["state"] == "expired"
    assert (await approve(model, again, root_ns=1)).result["zones"] == 1


@ensureDeferred
async def test_servers_on_boxes_that_were_retired_before_answer_nobody(model: Model) -> None:
    await model.cluster()
    await model.ask("pserver.retire", name="ns2", box_is_gone=True)
    held = await model.held("ip.delete", ip="192.0.2.1")
    assert ids(held) == {"root-ns": 1, "last-name-server": 1}
    assert "removes the last name server of 1 zone: example.net" in held.message


async def wide(model: Model) -> dict[str, Any]:
    """Give a model that reloads Apache on two boxes; one is what this runner allows."""
    await model.cluster()
    await model.box("web2", 9, ("web",))
    await model.server("web2", "web", "apache")
    add = {"lserver": "web2.example.net", "first": "192.0.2.9", "mask": "24", "type": "shared"}
    await model.ask("ip.add", **add)
    model.runner = CommandRunner(
        model.database, model.registry, holding=Holding(model.secrets, reload_boxes=1)
    )
    document: dict[str, Any] = await model.ask("model.export")
    for server in ("web1", "web2"):
        entry = document["logical_servers"][f"{server}.example.net"]
        entry["settings"] = {**entry.get("settings", {}), "timeout": 45}
    return document


@ensureDeferred
async def test_a_wide_reload_is_held_its_secrets_sealed(model: Model) -> None:
    document = await wide(model)
    document["boxes"]["web2"]["description"] = "planted-canary"
    before = await model.rows("SELECT settings FROM logical_server ORDER BY name")
    with pytest.raises(HeldBackError) as caught:
        await model.run("model.import", model=document)
    assert ids(caught.value) == {"wide-reload": 2}
    assert "reloads a daemon on 2 boxes at once: web1, web2" in caught.value.message
    assert await model.rows("SELECT settings FROM logical_server ORDER BY name") == before
    ((text, sealed),) = await model.rows(
        """SELECT h::text, s.sealed FROM held_change h JOIN secret s ON s.id = h.secret_id"""
    )
    assert "planted-canary" not in text
    assert b"planted-canary" not in bytes(sealed)
    shown = await model.ask("change.show-held", id=caught.value.held)
    assert shown["request"] == {"model": "(secret)", "prune": False}

    done = await approve(model, caught.value.held, wide_reload=2)
    assert done.result["counts"]["lserver.set"] == 2
    assert (await model.ask("pserver.show", name="web2"))["description"] == "planted-canary"
    assert await model.rows("SELECT 1 FROM held_change WHERE secret_id IS NOT NULL") == []
    assert await model.rows("SELECT 1 FROM secret s WHERE s.sealed = %s", (sealed,)) == []


@ensureDeferred
async def test_one_box_fewer_reloads_at_once(model: Model) -> None:
    document = await wide(model)
    del document["logical_servers"]["web2.example.net"]["settings"]["timeout"]
    done = await model.run("model.import", model=document)
    assert done.change_id is not None


@ensureDeferred
async def test_a_held_change_ends_by_itself_and_its_secret_with_it(model: Model) -> None:
    document = await wide(model)
    with pytest.raises(HeldBackError) as caught:
        await model.run("model.import", model=document)
    await model.write("UPDATE held_change SET expires_at = now()")
    error = await not_approved(model, caught.value.held, wide_reload=2)
    assert (error.id, "nobody approved it" in error.message) == ("change.held.ended", True)
    assert (await model.ask("change.held"))["items"] == []
    assert await model.database.transaction(system("test"), held_changes.purge, name="t") == 1
    assert await model.rows("SELECT state, secret_id FROM held_change") == [("expired", None)]
    assert await model.rows("SELECT 1 FROM secret WHERE owner_id IS NULL AND name IS NULL") == []


@pytest.mark.parametrize("key", ["another", "none"])
@ensureDeferred
async def test_secrets_that_cannot_be_opened_are_not_run_without(
    model: Model, key: str, tmp_path: Any
) -> None:
    document = await wide(model)
    with pytest.raises(HeldBackError) as caught:
        await model.run("model.import", model=document)
    secrets = Secrets.create(tmp_path / "another.key") if key == "another" else None
    commands = HeldChanges(model.registry, Holding(secrets)).commands()
    model.runner = CommandRunner(model.database, Registry(commands), holding=Holding(secrets))
    error = await not_approved(model, caught.value.held, wide_reload=2)
    assert (error.id, "has secrets that" in error.message) == ("change.held.unreadable", True)


@ensureDeferred
async def test_another_controller_approves_what_one_has_held(
    model: Model, database_url: str, tmp_path: Any
) -> None:
    document = await wide(model)
    with pytest.raises(HeldBackError) as caught:
        await model.run("model.import", model=document)
    secrets = Secrets.load(tmp_path / "secrets.key")
    database = await Database.connect(database_url)
    try:
        registry = build_registry(
            EnrolmentInfo("198.51.100.99", 8445, "ab" * 32),
            lambda: float(NOW),
            fleet=NotedFleet(),
            secrets=secrets,
        )
        runner = CommandRunner(database, registry, holding=Holding(secrets, reload_boxes=1))
        request = registry["change.approve"].request(caught.value.held, {"wide-reload": 2})
        done = await runner.run(OTHER, "change.approve", request)
        assert done.change_id is not None
    finally:
        await database.close()
