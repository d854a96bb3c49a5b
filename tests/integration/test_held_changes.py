"""Changes that a hazard holds back: nothing is written until each is accepted by its number."""

import json
from typing import Any

import attrs
import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.defer import Deferred, gatherResults

from controller.change_plan import Foreseen
from controller.changes import secret_field
from controller.commands import Command, Registry, Work
from controller.hazards import seal
from controller.holding import HeldBackError, Holding
from controller.principal import Principal
from controller.projection.zones import secondary_zone
from controller.refusal import CommandError
from controller.runner import CommandRunner
from templates.bind.objects import ZONE
from tests.integration.holding import NS1, NS2, NS3, OTHER, approve, ids, not_approved, zones
from tests.integration.model import OPERATOR, Model


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


async def moves(model: Model) -> int:
    ((count,),) = await model.rows("SELECT count(*) FROM zone_move")
    return int(count)


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
async def test_what_is_refused_by_now_says_so_of_the_held_change(model: Model) -> None:
    await model.cluster()
    held = (await model.held("ip.delete", ip="192.0.2.2")).held
    await model.write("DELETE FROM ip_address WHERE address = '192.0.2.2'")
    error = await not_approved(model, held, root_ns=1)
    assert (error.id, error.field, error.value, error.status) == (
        "ip.unknown",
        "id",
        str(held),
        409,
    )
    assert f"held change {held} (ip.delete) is refused now: no logical server" in error.message
    assert error.allowed.endswith(f"hsctl change withdraw {held} drops it")
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
