"""Rollouts: no wave before the one before is live, and none after the first failure."""

from typing import Any

import attrs
import msgspec
import pytest
from pytest_twisted import ensureDeferred

from controller.cluster.rollouts.job import advance
from controller.cluster.servers.editing import ServerEditing, SetServer
from controller.commands import Work
from controller.holding import Holding
from controller.hosting.certificates import self_signed
from controller.principal import system
from controller.projection.stored import ServerProjection
from controller.refusal import CommandError
from controller.runner import CommandRunner
from controller.storage.database import Transaction
from node_agent.wire.questions import AskPreview, Preview
from tests.conftest import LoggedErrors
from tests.integration.applying import applied
from tests.integration.model import Model

WEB = [f"web{number}.example.net" for number in range(1, 5)]


async def farm(model: Model) -> None:
    """Make four web servers on four boxes; web1 serves a site."""
    await model.shop()
    for number in range(2, 5):
        name = f"web{number}"
        await model.box(name, number + 20, ("web",))
        await model.server(name, "web", "apache")
        await model.ask(
            "ip.add",
            lserver=f"{name}.example.net",
            first=f"192.0.2.{number + 20}",
            mask="24",
            type="shared",
        )
    await model.write("UPDATE box SET first_seen_at = now()")
    await applied(model)


async def step(model: Model, editing: ServerEditing | None = None) -> str:
    editor = editing or ServerEditing(ServerProjection(model.secrets, self_signed))

    async def work(tx: Transaction) -> str:
        return await advance(tx, editor)

    outcome: str = await model.database.transaction(system("test"), work, name="test")
    return outcome


async def changed(model: Model) -> list[str]:
    """Name the servers that have the new setting."""
    found = await model.rows(
        "SELECT name FROM logical_server WHERE settings ->> 'timeout' = '45' ORDER BY name"
    )
    return [name for (name,) in found]


async def begun(model: Model, **more: Any) -> int:
    answer = await model.ask("rollout.begin", type="apache", settings={"timeout": "45"}, **more)
    return int(answer["rollout"])


@ensureDeferred
async def test_a_wave_follows_when_the_one_before_is_live_everywhere(model: Model) -> None:
    await farm(model)
    before = await model.footprint()
    dry = await model.run("rollout.begin", type="apache", settings={"timeout": 45}, dry_run=True)
    assert dry.result["waves"] == [[WEB[1]], [WEB[2]], [WEB[3], WEB[0]]]  # the fewest sites first
    assert dry.plan is not None
    assert "changes 4 servers in 3 waves, of 1, 1, 2" in dry.plan.words
    assert await model.footprint() == before
    number = await begun(model)
    assert await changed(model) == []
    assert await step(model) == "moved"
    assert await changed(model) == [WEB[1]]
    for _ in range(2):
        assert await step(model) == "waiting"
    assert await changed(model) == [WEB[1]]
    shown = await model.ask("rollout.show", id=number)
    assert (shown["written"], shown["state"]) == (1, "running")
    wave = await model.ask("change.show", id=shown["change"])
    assert (wave["actor"], wave["command"], wave["state"]) == (
        "system:rollout",
        "rollout.wave",
        "pending",
    )
    for servers in ([WEB[1], WEB[2]], [WEB[0], WEB[1], WEB[2], WEB[3]]):
        await applied(model)
        assert await step(model) == "moved"
        assert await changed(model) == servers
    assert await step(model) == "waiting"
    await applied(model)
    assert await step(model) == "moved"
    shown = await model.ask("rollout.show", id=number)
    assert (shown["state"], shown["message"]) == ("done", "")
    assert await step(model) == "idle"


@ensureDeferred
async def test_a_dry_run_asks_the_boxes_of_all_waves_what_would_change(model: Model) -> None:
    """What the job does afterwards is as much of the plan as what the command does itself."""
    await farm(model)
    nothing = Preview(files=(), effects=(), refused=(), pending=0, cut=False)
    model.fleet.answering = lambda _: nothing
    before = await model.footprint()
    dry = await model.run(
        "rollout.begin", type="apache", settings={"timeout": 45}, dry_run=True, differences=True
    )
    assert await model.footprint() == before
    assert dry.plan is not None
    assert dry.plan.differences is not None
    assert sorted(each.logical_server for each in dry.plan.differences) == WEB
    for ask in model.fleet.questions:
        assert isinstance(ask, AskPreview)
        (wanted,) = ask.objects
        assert wanted.spec is not None
        assert msgspec.msgpack.decode(wanted.spec)["settings"]["timeout"] == 45
    assert await step(model) == "idle"
    assert await changed(model) == []


async def fail(model: Model, server: str, words: str = "no memory") -> None:
    await model.write(
        """INSERT INTO object_outcome (box_id, logical_server_id, kind, key, revision, outcome,
                                       message)
           SELECT l.box_id, s.id, 'server', '', s.revision, 'failed', %s
           FROM logical_server s JOIN lane l ON l.logical_server_id = s.id WHERE s.name = %s""",
        (words, server),
    )
    await applied(model)


@ensureDeferred
async def test_the_first_failure_pauses_it_and_nobody_else_is_changed(model: Model) -> None:
    await farm(model)
    number = await begun(model)
    await step(model)
    await fail(model, WEB[1])
    assert await step(model) == "moved"
    shown = await model.ask("rollout.show", id=number)
    assert (shown["state"], shown["message"]) == ("paused", "web2: no memory")
    for _ in range(2):
        assert await step(model) == "idle"
    assert await changed(model) == [WEB[1]]

    await model.ask("rollout.resume", id=number)  # though nothing was mended
    await step(model)
    assert (await model.ask("rollout.show", id=number))["state"] == "paused"
    await model.write("DELETE FROM object_outcome")
    await model.ask("rollout.resume", id=number)
    assert await step(model) == "moved"
    assert await changed(model) == [WEB[1], WEB[2]]

    await fail(model, WEB[2])
    await step(model)
    await model.ask("rollout.resume", id=number, past_failure=True)
    assert await step(model) == "moved"
    assert await changed(model) == WEB


@ensureDeferred
async def test_a_rollout_that_is_stopped_changes_nobody_else(model: Model) -> None:
    await farm(model)
    number = await begun(model)
    await step(model)
    await applied(model)
    assert (await model.ask("rollout.stop", id=number))["state"] == "stopped"
    assert await step(model) == "idle"
    assert await changed(model) == [WEB[1]]
    assert (await model.refused("rollout.resume", id=number)).id == "rollout.not-paused"
    assert [each["state"] for each in (await model.ask("rollout.list"))["items"]] == ["stopped"]


@attrs.frozen
class Refusing(ServerEditing):
    """Refuses what is asked of one server, as a rule might."""

    async def set(self, work: Work, request: SetServer) -> dict[str, Any]:
        if request.name == WEB[3]:
            raise CommandError("lserver.no", "this one not")
        return await super().set(work, request)


@ensureDeferred
async def test_a_wave_that_is_refused_is_not_written_by_half(model: Model) -> None:
    await farm(model)
    number = await begun(model, waves=("rest",))
    before = await model.footprint()
    editing = Refusing(ServerProjection(model.secrets, self_signed))
    assert await step(model, editing) == "moved"
    assert await model.footprint() == before
    shown = await model.ask("rollout.show", id=number)
    assert (shown["state"], shown["written"], shown["message"]) == ("paused", 0, "this one not")


@ensureDeferred
async def test_a_wave_that_is_refused_is_left_out_by_who_goes_on_past_it(model: Model) -> None:
    await farm(model)
    number = await begun(model, waves=("1", "2", "rest"))  # the second has the one refused
    editing = Refusing(ServerProjection(model.secrets, self_signed))
    await step(model, editing)
    await applied(model)
    await step(model, editing)
    assert (await model.ask("rollout.show", id=number))["state"] == "paused"
    assert "left_out" not in await model.ask("rollout.resume", id=number)
    await step(model, editing)
    assert (await model.ask("rollout.show", id=number))["message"] == "this one not"
    resumed = await model.ask("rollout.resume", id=number, past_failure=True)
    assert resumed == {"id": number, "state": "running", "left_out": 2}
    assert await step(model, editing) == "moved"
    assert await changed(model) == [WEB[0], WEB[1]]
    await applied(model)
    await step(model, editing)
    assert (await model.ask("rollout.show", id=number))["state"] == "done"


@attrs.frozen
class Mistaken(ServerEditing):
    """Fails for web servers, by a mistake of ours."""

    async def set(self, work: Work, request: SetServer) -> dict[str, Any]:
        if request.name in WEB:
            raise ValueError("no such word")
        return await super().set(work, request)


@ensureDeferred
async def test_a_mistake_of_ours_pauses_its_rollout_and_stops_no_other(
    model: Model, logged_errors: LoggedErrors
) -> None:
    await farm(model)
    number = await begun(model)
    bind = await model.ask("rollout.begin", type="bind", settings={"used_by": "master-admin"})
    editing = Mistaken(ServerProjection(model.secrets, self_signed))
    assert await step(model, editing) == "moved"
    shown = await model.ask("rollout.show", id=number)
    words = "internal error: ValueError: no such word"
    assert (shown["state"], shown["written"], shown["message"]) == ("paused", 0, words)
    assert (await model.ask("rollout.show", id=bind["rollout"]))["written"] == 1
    (told,) = logged_errors.flush()
    assert "no such word" in told


@ensureDeferred
async def test_what_cannot_be_rolled_out_is_refused(model: Model) -> None:
    await model.cluster()
    for given, id_ in (
        ({"type": "nothing", "settings": {"timeout": 45}}, "rollout.type.unknown"),
        ({"type": "apache", "settings": {}}, "rollout.settings.invalid"),
        ({"type": "bind", "settings": {"role": "master"}}, "rollout.settings.invalid"),
        ({"type": "apache", "settings": {"timeout": "x"}}, "lserver.settings.invalid"),
        ({"type": "apache", "settings": {"timeout": 45}, "waves": ("x",)}, "rollout.waves.invalid"),
    ):
        assert (await model.refused("rollout.begin", **given)).id == id_
    await begun(model)
    again = await model.refused("rollout.begin", type="apache", settings={"timeout": 46})
    assert again.id == "rollout.running"
    for command in ("rollout.show", "rollout.stop", "rollout.resume"):
        assert (await model.refused(command, id=99)).id == "rollout.unknown"


@pytest.mark.parametrize(("waves", "number"), [(("1", "rest"), 3), (("2", "2"), None)])
@ensureDeferred
async def test_a_wave_that_is_wide_itself_is_held(
    model: Model, waves: tuple[str, ...], number: int | None
) -> None:
    await farm(model)
    model.runner = CommandRunner(
        model.database, model.registry, holding=Holding(model.secrets, reload_boxes=2)
    )
    if number is None:
        assert await begun(model, waves=waves)
        return
    held = await model.held("rollout.begin", type="apache", settings={"timeout": 45}, waves=waves)
    assert [(each.id, each.number) for each in held.hazards] == [("wide-reload", number)]
    await model.ask("change.approve", id=held.held, accept={"wide-reload": number})
    assert await step(model) == "moved"
