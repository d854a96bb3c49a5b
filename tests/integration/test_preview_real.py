"""What a dry run shows of real boxes is what the change then does, to the byte and in its order."""

import re
from collections.abc import AsyncIterator
from typing import Any

import psutil
import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from controller.fleet.differences import NUMBERS, SERIALS, LaneDifferences
from node_agent.effect_words import control_words
from node_agent.wire.questions import AnyFound, AskPreview, Declined, Preview, PreviewedObject
from templates.bind.layout import master_file
from templates.objects import Spec
from tests.free_ports import free_port
from tests.integration.model import Model, model
from tests.integration.previewed_boxes import (
    NS1,
    WEB1,
    PreviewedBoxes,
    Snapshot,
    check,
    snapshot,
    with_number,
)
from tests.integration.real_lane import item, zone

__all__ = ["model"]

pytestmark = pytest.mark.timeout(400)

ZONE = master_file("shop.test")


@pytest_twisted.async_yield_fixture
async def boxes(model: Model) -> AsyncIterator[PreviewedBoxes]:
    running = await PreviewedBoxes.start(model)
    await model.ask("account.add", name="acme")
    await running.apply("domain.add", name="shop.test", account="acme")
    yield running
    await running.end()


def paths(effects: tuple[str, ...]) -> set[str]:
    """Give the files that effects in words write, link or remove; others' first pages aside."""
    found = set()
    for words in effects:
        verb, _, rest = words.partition(" ")
        if verb in ("write", "link") and not rest.endswith("where nothing stands"):
            found.add(rest.split(" to ")[0])
        elif verb == "remove" and not rest.startswith("the zone"):
            found.add(rest.removeprefix("the link ").split(" to ")[0])
    return found


def compare_effects(
    boxes: PreviewedBoxes, server: str, told: LaneDifferences, before: Snapshot
) -> None:
    """See that the lane's journal, and its daemon, had what was told and nothing else."""
    done, root = boxes.done[server], boxes.lane(server).root
    journalled: set[str] = set()
    for undo in done.undos:
        journalled |= {path for path, looks in undo.after if looks.startswith(("file", "link"))}
        journalled |= {path for path, looks in undo.after if looks == "absent"}
        journalled |= {each.path for each in undo.retire}
    stood = before.keys() | {path for path in journalled if (root / path).exists()}
    assert paths(told.effects) == journalled & stood
    orders = [words for words in told.effects if CONTROL.match(words)]
    assert orders == [control_words(each) for each in done.control]
    daemon = {words.split()[0] for words in told.effects if words.split()[1:2] in PROGRAMS}
    assert daemon == set(done.daemon)
    assert bool(daemon & {"reload", "restart"}) == any(undo.reload for undo in done.undos)


PROGRAMS = (["named"], ["apache2"])
CONTROL = re.compile("(add|remove|reload) the zone |(bring|take) the address ")
WRITES: dict[str, tuple[str, dict[str, Any], set[str]]] = {
    "record": (
        "record.add",
        {"domain": "shop.test", "name": "www2", "type": "A", "values": ("192.0.2.7",)},
        {NS1},
    ),
    "text": (
        "record.add",
        {"domain": "shop.test", "name": "t", "type": "TXT", "values": ("a" * 255,)},
        {NS1},
    ),
    "domain": ("domain.add", {"name": "other.test", "account": "acme"}, {NS1, WEB1}),
    "site": ("site.set", {"name": "shop.test", "index": ("start.html",)}, {WEB1}),
    "named": ("lserver.set", {"name": NS1, "settings": {"control_port": free_port()}}, {NS1}),
    "apache": ("lserver.set", {"name": WEB1, "settings": {"timeout": 77}}, {WEB1}),
    "deletion": ("domain.delete", {"name": "shop.test"}, {NS1, WEB1}),
}


@pytest_twisted.ensureDeferred
async def test_files_and_effects_are_those_that_were_shown(boxes: PreviewedBoxes) -> None:
    for command, fields, servers in WRITES.values():
        before = {server: snapshot(boxes.lane(server)) for server in servers}
        told = await boxes.preview(command, **fields)
        assert told.keys() == servers
        await boxes.apply(command, **fields)
        for server in servers:
            shown, after = told[server], snapshot(boxes.lane(server))
            assert not shown.refused
            if NUMBERS in shown.words:
                shown = with_number(shown, before[server], after)
            check(before[server], shown, after)
            compare_effects(boxes, server, shown, before[server])


@pytest_twisted.ensureDeferred
async def test_the_lines_of_a_zone_are_its_own(boxes: PreviewedBoxes) -> None:
    told = await boxes.preview("record.add", **WRITES["record"][1])
    (file,) = told[NS1].files
    assert (file.path, file.action) == (ZONE, "change")
    assert file.lines[:2] == (f"--- a/{ZONE}", f"+++ b/{ZONE}")
    added = [line for line in file.lines[2:] if line.startswith("+") and "192.0.2.7" in line]
    assert added == ["+www2.shop.test. 3600 IN A 192.0.2.7"]
    assert told[NS1].effects == (f"write {ZONE}", "reload the zone shop.test")
    assert SERIALS in told[NS1].words


@pytest_twisted.ensureDeferred
async def test_previews_touch_nothing_on_the_box_two_at_once(boxes: PreviewedBoxes) -> None:
    lanes = {server: boxes.lane(server) for server in (NS1, WEB1)}
    before = {server: snapshot(lane, whole=True) for server, lane in lanes.items()}
    journals = {server: _journal(lane) for server, lane in lanes.items()}
    daemons = {server: _processes(lane) for server, lane in lanes.items()}
    said = {server: len(lane.said) for server, lane in lanes.items()}
    model_before = await boxes.model.footprint()
    asked = [boxes.preview(command, **fields) for command, fields, _ in WRITES.values()]
    answers = await gatherResults([Deferred.fromCoroutine(each) for each in asked])
    assert all(each.known for answer in answers for each in answer.values())
    assert {server: snapshot(lane, whole=True) for server, lane in lanes.items()} == before
    assert {server: _journal(lane) for server, lane in lanes.items()} == journals
    assert {server: _processes(lane) for server, lane in lanes.items()} == daemons
    assert {server: len(lane.said) for server, lane in lanes.items()} == said
    assert await boxes.model.footprint() == model_before


def objects(*specs: tuple[str, str, Spec | None]) -> tuple[PreviewedObject, ...]:
    return tuple(
        PreviewedObject(each.kind, each.key, each.kind_version, each.spec, each.requires)
        for each in (item(kind, key, 0, spec) for kind, key, spec in specs)
    )


async def ask(boxes: PreviewedBoxes, server: str, *specs: tuple[str, str, Spec | None]) -> AnyFound:
    """Ask as a controller in the wrong hands would: for whatever it likes."""
    lane = AskPreview(lane=boxes.ids[server], objects=objects(*specs))
    return await boxes.ask("box", lane, 20.0)


@pytest_twisted.ensureDeferred
async def test_a_hostile_controller_learns_nothing_by_asking(boxes: PreviewedBoxes) -> None:
    web, dns = boxes.lane(WEB1), boxes.lane(NS1)
    outside = await ask(boxes, WEB1, web.server(home_root="/etc"))
    assert isinstance(outside, Preview)
    (refused,) = outside.refused
    assert refused.words.startswith("not granted: ")
    assert (outside.files, outside.effects) == ((), ())
    for name in ("../../etc/passwd", "a/../../b.test", "/etc/shadow"):
        strange = await ask(boxes, NS1, zone(name))
        assert isinstance(strange, Preview)
        assert [each.outcome for each in strange.refused] == ["quarantined"]
        assert strange.files == ()
    declined = await boxes.ask("box", AskPreview(lane="../x", objects=()), 20.0)
    assert isinstance(declined, Declined)
    # A file of somebody else's where a zone would come, and a folder that leads elsewhere.
    there = dns.root / master_file("mine.test")
    there.parent.mkdir(parents=True, exist_ok=True)
    there.write_text("what a person keeps there\n", encoding="ascii")
    elsewhere = dns.home / "elsewhere"
    (dns.root / ZONE).parent.rename(elsewhere)
    (dns.root / ZONE).parent.symlink_to(elsewhere)
    (elsewhere / (dns.root / ZONE).name).write_text("beside the lane\n", encoding="ascii")
    found = await ask(boxes, NS1, zone("mine.test"), zone("shop.test", 2**31))
    assert isinstance(found, Preview)
    assert {each.path for each in found.files} >= {ZONE, master_file("mine.test")}
    assert "keeps there" not in repr(found)
    assert "beside the lane" not in repr(found)


def _journal(lane: Any) -> list[str]:
    return list(lane.journal.db.iterdump())


def _processes(lane: Any) -> list[tuple[int, float]]:
    main = lane.process
    assert main is not None
    family = [main, *main.children(recursive=True)]
    return sorted((each.pid, psutil.Process(each.pid).create_time()) for each in family)
