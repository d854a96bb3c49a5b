"""Drift at the controller: what boxes tell, what is asked of them, and what is recorded of it."""

import math
from typing import Any

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet import reactor

from node_agent.wire.messages import MOST_FINDINGS, Assign, Drift, DriftFinding, Message
from node_agent.wire.questions import (
    AskDifference,
    AskRepair,
    AskVerify,
    Declined,
    Difference,
    Repaired,
    RepairedFile,
    Verified,
)
from tests.fleet_cluster import FleetCluster
from tests.fleet_fixtures import fleet_cluster
from tests.integration.model import OPERATOR, Model
from tests.simulated_agent import SimulatedAgent

__all__ = ["fleet_cluster"]

SERVER = "ns1.example.net"


async def drifted(model: Model, *paths: str) -> None:
    """Have ns1 told of files, as the fleet would write it."""
    await model.cluster()
    for path in paths or ("named.conf", "zones/52/a.test.zone"):
        await model.write(
            """INSERT INTO drift_finding (box_id, logical_server_id, path, what, words)
               SELECT l.box_id, l.logical_server_id, %s, 'changed', 'its content was changed'
               FROM lane l JOIN logical_server s ON s.id = l.logical_server_id WHERE s.name = %s""",
            (path, SERVER),
        )
    await model.write(
        """UPDATE lane l SET files = 7, drifted = %s, verified_at = now() FROM logical_server s
           WHERE s.id = l.logical_server_id AND s.name = %s""",
        (len(paths) or 2, SERVER),
    )


async def lane(model: Model) -> str:
    ((id_,),) = await model.rows("SELECT id::text FROM logical_server WHERE name = %s", (SERVER,))
    return str(id_)


@ensureDeferred
async def test_findings_are_listed_by_server_and_box_page_by_page(model: Model) -> None:
    await drifted(model)
    first = await model.ask("drift.list", limit=1)
    assert [each["path"] for each in first["items"]] == ["named.conf"]
    rest = await model.ask("drift.list", limit=1, cursor=first["next"])
    assert [each["path"] for each in rest["items"]] == ["zones/52/a.test.zone"]
    assert rest["next"] is None
    (one,) = first["items"]
    assert (one["logical_server"], one["box"], one["what"]) == (SERVER, "ns1", "changed")
    assert (await model.ask("drift.list", lserver="ns2.example.net"))["items"] == []
    assert len((await model.ask("drift.list", pserver="ns1"))["items"]) == 2
    assert (await model.refused("drift.list", lserver="none.example.net")).id == "lserver.unknown"


@ensureDeferred
async def test_the_box_is_called_drifted(model: Model) -> None:
    await drifted(model)
    await model.write("UPDATE box SET connected = true")
    assert "drifted" in (await model.ask("pserver.show", name="ns1"))["conditions"]
    assert "drifted" not in (await model.ask("pserver.show", name="ns2"))["conditions"]


@ensureDeferred
async def test_the_policy_is_a_setting_of_the_server_and_touches_no_box(model: Model) -> None:
    await model.cluster()
    assert (await model.ask("drift.lanes", name=SERVER))["policy"] == "report"
    before = await model.objects(SERVER)
    await model.ask("lserver.set", name=SERVER, settings={"drift": "keep"})
    assert (await model.ask("drift.lanes", name=SERVER))["policy"] == "keep"
    assert await model.objects(SERVER) == before
    refused = await model.refused("lserver.set", name=SERVER, settings={"drift": "wipe"})
    assert refused.id == "lserver.settings.invalid"
    assert "keep" in str(refused.allowed)


@ensureDeferred
async def test_how_the_files_of_each_box_are_is_shown(model: Model) -> None:
    await drifted(model)
    (box,) = (await model.ask("drift.lanes", name=SERVER))["boxes"]
    assert (box["box"], box["files"], box["drifted"]) == ("ns1", 7, 2)
    assert box["verified_at"] is not None


@ensureDeferred
async def test_a_difference_is_asked_of_the_box_and_shown_bounded_and_printable(
    model: Model,
) -> None:
    await drifted(model)
    lines = ("--- on the box", "-\x1b[31mred\t<script>", *("+x" * 5 for _ in range(2000)))
    model.fleet.answers = [
        Difference(path="elsewhere", words="changed\x07" * 900, lines=lines, cut=True)
    ]
    found = await model.ask("drift.show", name=SERVER, path="named.conf")
    assert model.fleet.questions == [AskDifference(lane=await lane(model), path="named.conf")]
    assert found["path"] == "named.conf", "what was asked for, whatever the box says"
    assert found["lines"][1] == "-\N{REPLACEMENT CHARACTER}[31mred    <script>"
    assert len(found["lines"]) == 1000
    assert len(found["words"]) < 1010
    assert found["words"].isprintable()


@pytest.mark.parametrize("path", ["", "a\0b", "a\nb", "x" * 1001, "\x1b[2J"])
@ensureDeferred
async def test_what_is_no_path_is_refused_before_a_box_is_asked(model: Model, path: str) -> None:
    await drifted(model)
    refused = await model.refused("drift.show", name=SERVER, path=path)
    assert refused.id in ("drift.path", "request.text.nul", "text.nul") or "NUL" in str(refused)
    assert model.fleet.questions == []


@ensureDeferred
async def test_a_path_that_the_agent_did_not_write_is_the_boxs_to_refuse(model: Model) -> None:
    await drifted(model)
    model.fleet.answers = [Declined(reason="unknown", words="the agent wrote no such file")]
    refused = await model.refused("drift.show", name=SERVER, path="../../etc/shadow")
    assert (refused.id, refused.status) == ("pserver.declined", 409)
    assert "drift list" in str(refused.allowed)


@ensureDeferred
async def test_verify_asks_each_connected_box(model: Model) -> None:
    await drifted(model)
    model.fleet.answers = [Verified(files=7, drifted=2, ended=False)]
    answer = await model.ask("drift.verify", name=SERVER)
    assert answer["boxes"] == [{"box": "ns1", "files": 7, "drifted": 2, "ended": False}]
    assert model.fleet.questions == [AskVerify(lane=await lane(model))]


@ensureDeferred
async def test_a_box_that_is_away_or_of_another_server_is_a_refusal(model: Model) -> None:
    await drifted(model)
    refused = await model.refused("drift.verify", name=SERVER, pserver="ns2")
    assert refused.id == "drift.box"
    ((box,),) = await model.rows("SELECT id::text FROM box WHERE name = 'ns1'")
    model.fleet.away.add(box)
    for command in ("drift.verify", "drift.repair", "drift.preview"):
        assert (await model.refused(command, name=SERVER)).id == "pserver.away"


@ensureDeferred
async def test_a_repair_is_recorded_with_what_came_of_it(model: Model) -> None:
    await drifted(model)
    model.fleet.answers = [
        Repaired(
            files=(RepairedFile("a", "refused", "no\x1b"), RepairedFile("b", "repaired")),
            total=2,
            reload=True,
        )
    ]
    done = await model.run("drift.repair", name=SERVER)
    assert model.fleet.questions == [AskRepair(lane=await lane(model), path="", preview=False)]
    (box,) = done.result["boxes"]
    assert (box["outcome"], box["total"], box["reload"]) == ("refused", 2, True)
    assert box["files"][0]["message"] == "no\N{REPLACEMENT CHARACTER}"
    noted = await model.rows(
        "SELECT command, actor, request -> 'boxes' -> 0 ->> 'outcome' FROM change"
        " WHERE command LIKE 'drift.%%' ORDER BY id"
    )
    assert noted == [
        ("drift.repair", "operator:ada", None),
        ("drift.repair-answer", "system:fleet", "refused"),
    ]


@ensureDeferred
async def test_a_dry_run_asks_nobody_and_tells_what_is_known(model: Model) -> None:
    await drifted(model)
    done = await model.run_as(OPERATOR, "drift.repair", dry_run=True, name=SERVER)
    assert [each["path"] for each in done.result["would"]] == ["named.conf", "zones/52/a.test.zone"]
    assert model.fleet.questions == []


@ensureDeferred
async def test_a_preview_is_asked_of_the_box(model: Model) -> None:
    await drifted(model)
    model.fleet.answers = [
        Repaired(files=(RepairedFile("named.conf", "would"),), total=1, reload=True)
    ]
    found = await model.ask("drift.preview", name=SERVER, path="named.conf")
    assert found["boxes"][0]["files"] == [{"path": "named.conf", "outcome": "would", "message": ""}]


@ensureDeferred
async def test_findings_go_with_their_server(model: Model) -> None:
    await drifted(model)
    await model.write("DELETE FROM lane")
    assert await model.rows("SELECT count(*) FROM drift_finding") == [(0,)]


# --- what boxes say ---


async def connected(cluster: FleetCluster) -> tuple[SimulatedAgent, str]:
    box, agent = await cluster.add_box()
    server = await cluster.add_server(box)
    await agent.connect(reactor, cluster.agent_port)
    await agent.until(lambda: bool(agent.said(Assign)))
    return agent, server


def told(server: str, *findings: DriftFinding, **fields: Any) -> Message:
    values = {"files": 9, "total": len(findings), "verified_ago": -1.0, **fields}
    return Drift(lane=server, findings=findings, **values)


@ensureDeferred
async def test_what_a_box_tells_replaces_what_was_known(cluster: FleetCluster) -> None:
    agent, server = await connected(cluster)
    one = DriftFinding("a.conf", "changed", "one")
    agent.send(told(server, one, DriftFinding("b.conf", "missing"), verified_ago=60.0))
    await cluster.until("SELECT count(*) = 2 FROM drift_finding")
    await cluster.until(
        "SELECT verified_at BETWEEN now() - interval '70 s' AND now() - interval '50 s' FROM lane"
    )
    await cluster.run("UPDATE drift_finding SET since = 'epoch'")
    agent.send(told(server, DriftFinding("a.conf", "mode", "two"), total=5))
    await cluster.until("SELECT count(*) = 1 FROM drift_finding")
    assert await cluster.rows(
        "SELECT path, what, words, since = 'epoch', drifted, verified_at IS NOT NULL"
        " FROM drift_finding JOIN lane USING (box_id, logical_server_id)"
    ) == [("a.conf", "mode", "two", True, 5, True)]
    agent.send(told(server))
    await cluster.until("SELECT count(*) = 0 FROM drift_finding")
    await cluster.until("SELECT drifted = 0 AND files = 9 FROM lane")


@ensureDeferred
async def test_a_new_policy_reaches_a_connected_box_at_once(cluster: FleetCluster) -> None:
    agent, _ = await connected(cluster)
    assert agent.said(Assign)[-1].lanes[0].drift == "report"
    await cluster.run("""UPDATE logical_server SET settings = '{"drift": "repair"}'""")
    await cluster.fleet._reassign()
    await agent.until(lambda: agent.said(Assign)[-1].lanes[0].drift == "repair")


@ensureDeferred
async def test_s8_hostile_text_about_files_is_kept_as_bounded_plain_text(
    cluster: FleetCluster,
) -> None:
    agent, server = await connected(cluster)
    agent.send(
        told(
            server,
            DriftFinding("good.conf", "changed", "<script>\0\x1b[31m" + "x" * 10_000),
            DriftFinding("bad\0path", "changed"),
            DriftFinding("y" * 5000, "changed"),
            DriftFinding("\x1b[2J", "changed"),
        )
    )
    await cluster.until("SELECT count(*) = 1 FROM drift_finding")
    ((path, words),) = await cluster.rows("SELECT path, words FROM drift_finding")
    assert path == "good.conf"
    assert words.startswith("<script>\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}[31m")
    assert len(words) <= 500


@pytest.mark.parametrize(
    "fields",
    [
        {"total": -1},
        {"total": 500},
        {"files": -1},
        {"files": 2**40, "total": 0},
        {"verified_ago": math.nan},
        {"verified_ago": math.inf},
        {"lane": "7f2d0c9e-0000-4000-8000-000000000009"},
    ],
)
@ensureDeferred
async def test_s8_impossible_numbers_end_the_session_and_write_nothing(
    cluster: FleetCluster, fields: dict[str, Any]
) -> None:
    agent, server = await connected(cluster)
    values = {"lane": server, "files": 9, "total": 0, "verified_ago": -1.0, **fields}
    agent.send(Drift(findings=(), **values))
    await agent.until_ended()
    assert await cluster.rows("SELECT files, drifted FROM lane") == [(0, 0)]


@ensureDeferred
async def test_s8_too_many_findings_end_the_session(cluster: FleetCluster) -> None:
    agent, server = await connected(cluster)
    many = tuple(DriftFinding(f"f{n}", "changed") for n in range(MOST_FINDINGS + 1))
    agent.send(told(server, *many, files=1000))
    await agent.until_ended()
    assert await cluster.rows("SELECT count(*) FROM drift_finding") == [(0,)]
