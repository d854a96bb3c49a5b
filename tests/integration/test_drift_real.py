"""Drift on real named and Apache: found, shown, brought back, kept; and an operator's overrides."""

import os
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from node_agent.effects.failures import EffectFailedError
from node_agent.journal import Journal
from templates.bind.layout import master_file
from tests.integration.real_lane import LANE, RealLane, own, site, zone

pytestmark = pytest.mark.timeout(400)

ZONE = master_file("a.test")


def _write(path: Path) -> None:
    path.write_text("; by hand\n", encoding="ascii")


def _swap(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


HAND: dict[str, Callable[[Path], Any]] = {
    "changed": _write,
    "missing": Path.unlink,
    "mode": lambda path: path.chmod(0o666),
    "owner": lambda path: os.chown(path, 12345, 12345),
    "kind": _swap,
}
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
HANDS = [pytest.param(each, marks=[needs_root] if each == "owner" else []) for each in HAND]


@pytest_twisted.async_yield_fixture
async def dns() -> AsyncIterator[RealLane]:
    lane = RealLane("bind")
    await lane.start()
    await lane.take(lane.server(), zone("a.test"), zone("b.test"))
    yield lane
    await lane.end()


@pytest_twisted.async_yield_fixture
async def web() -> AsyncIterator[RealLane]:
    lane = RealLane("apache")
    await lane.start()
    await lane.take(lane.server())
    await lane.take(site("a.test", 1), site("own.test", 2, settings=own()))
    yield lane
    await lane.end()


@pytest_twisted.ensureDeferred
async def test_what_named_and_its_agent_do_by_themselves_is_no_drift(dns: RealLane) -> None:
    await dns.take(zone("a.test", 2), ("zone", "b.test", None))
    await dns.cold_restart()
    assert await dns.found() == {}


@pytest_twisted.ensureDeferred
async def test_what_apache_and_its_agent_do_by_themselves_is_no_drift(web: RealLane) -> None:
    (web.root / "sites/0001/htdocs/index.html").write_text("the customer's own", encoding="ascii")
    await web.take(site("own.test", 2), web.server(timeout=30))
    await web.cold_restart()
    assert await web.found() == {}


@pytest.mark.parametrize("what", HANDS)
@pytest_twisted.ensureDeferred
async def test_a_zone_file_touched_by_hand_is_found_and_brought_back(
    dns: RealLane, what: str
) -> None:
    path = dns.root / ZONE
    before = (path.read_bytes(), path.stat().st_mode, path.stat().st_uid)
    HAND[what](path)
    assert await dns.found() == {ZONE: what}
    answer = await dns.lane.drift.repair(ZONE)
    assert [(each.path, each.outcome) for each in answer.files] == [(ZONE, "repaired")]
    assert (path.read_bytes(), path.stat().st_mode, path.stat().st_uid) == before
    assert not path.is_symlink()
    assert await dns.found() == {}
    await dns.cold_restart()
    assert await dns.serial("a.test") == 1


@pytest.mark.parametrize("what", HANDS)
@pytest.mark.parametrize("path", ["apache2.conf", "accounts/2.conf", "vhosts/a.test"])
@pytest_twisted.ensureDeferred
async def test_a_file_of_apache_touched_by_hand_is_found_and_brought_back(
    web: RealLane, path: str, what: str
) -> None:
    place = web.root / path
    if path.startswith("vhosts"):
        if what not in ("missing", "kind"):
            return  # a link has no content, mode or owner of its own
        what = {"kind": "changed"}.get(what, what)
        place.unlink()
        if what == "changed":
            place.symlink_to("/etc")
    else:
        HAND[what](place)
    assert await web.found() == {path: what}
    answer = await web.lane.drift.repair("")
    assert [(each.path, each.outcome) for each in answer.files] == [(path, "repaired")]
    assert await web.found() == {}
    await web.cold_restart()
    assert (await web.status("a.test"))[0] == 200
    assert (await web.status("own.test"))[0] in (403, 404), "its index document is not there"


@pytest_twisted.ensureDeferred
async def test_a_directory_swapped_for_a_link_is_found_and_not_followed(dns: RealLane) -> None:
    folder = (dns.root / ZONE).parent
    elsewhere = dns.home / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    assert await dns.found() == {ZONE: "kind"}
    answer = await dns.lane.drift.repair(ZONE)
    assert [each.outcome for each in answer.files] == ["refused"]
    assert [each.name for each in elsewhere.iterdir()] == [Path(ZONE).name]
    assert await dns.serial("b.test") == 1
    assert (await dns.take(zone("b.test", 2)))["b.test"] == "applied"


@pytest_twisted.ensureDeferred
async def test_a_configuration_that_apache_refuses_kills_nothing_and_is_brought_back(
    web: RealLane,
) -> None:
    process = web.process
    (web.root / "apache2.conf").write_text("Nonsense on\n", encoding="ascii")
    shown = await web.lane.drift.difference("apache2.conf")
    assert "-Nonsense on" in shown.lines
    answer = await web.lane.drift.repair("apache2.conf")
    assert [each.outcome for each in answer.files] == ["repaired"]
    assert answer.reload
    assert web.process == process
    await web.cold_restart()
    assert (await web.status("a.test"))[0] == 200


@pytest_twisted.ensureDeferred
async def test_the_difference_of_named_conf_shows_no_key(dns: RealLane) -> None:
    path = dns.root / "named.conf"
    text = path.read_text(encoding="ascii")
    secret = dns.journal.lanes.get(LANE).control_secret
    assert secret in text
    path.write_text(text.replace("recursion no", "recursion yes"), encoding="ascii")
    shown = await dns.lane.drift.difference("named.conf")
    assert any("recursion yes" in line for line in shown.lines)
    path.write_text(f"secret {secret};\n", encoding="ascii")
    shown = await dns.lane.drift.difference("named.conf")
    assert secret not in "".join(shown.lines) + shown.words


@pytest_twisted.ensureDeferred
async def test_a_thousand_files_are_found_and_brought_back() -> None:
    lane = RealLane("bind")
    await lane.start()
    names = [f"z{n:04}.test" for n in range(1000)]
    await lane.take(lane.server())
    for at in range(0, 1000, 250):
        await lane.take(*(zone(name) for name in names[at : at + 250]))
    for name in names:
        (lane.root / master_file(name)).write_text("; by hand\n", encoding="ascii")
    answer = await lane.lane.drift.verify(60.0)
    assert (answer.drifted, answer.ended) == (1000, True)
    repaired = await lane.lane.drift.repair("")
    assert repaired.total == 1000
    assert {each.outcome for each in repaired.files} == {"repaired"}
    assert await lane.found() == {}
    await lane.cold_restart()
    assert [await lane.serial(name) for name in names[::100]] == [1] * 10
    await lane.end()


@pytest_twisted.ensureDeferred
async def test_by_the_policy_repair_it_comes_back_by_itself() -> None:
    lane = RealLane("bind", "repair")
    await lane.start()
    await lane.take(lane.server(), zone("a.test"))
    path = lane.root / ZONE
    good = path.read_bytes()
    _write(path)
    await lane.lane.drift.verify(60.0)
    await lane.until(lambda: path.read_bytes() == good)
    await lane.lane.idle()
    await lane.cold_restart()
    assert await lane.serial("a.test") == 1
    await lane.end()


@pytest_twisted.ensureDeferred
async def test_by_the_policy_keep_a_person_s_file_holds_its_change_alone() -> None:
    lane = RealLane("bind", "keep")
    await lane.start()
    await lane.take(lane.server(), zone("a.test"), zone("b.test"))
    path = lane.root / ZONE
    mine = path.read_bytes().replace(b"Written by Heliosphere", b"Written by me")
    path.write_bytes(mine)
    assert await lane.take(zone("a.test", 2), zone("b.test", 2)) == {
        "a.test": "held",
        "b.test": "applied",
    }
    assert "kept" in lane.words()
    assert path.read_bytes() == mine
    await lane.cold_restart()
    assert await lane.serial("a.test") == 1
    await lane.lane.drift.repair(ZONE)
    await lane.until(lambda: lane.outcomes()["a.test"] == "applied")
    await lane.lane.idle()
    assert await lane.serial("a.test") == 2
    await lane.end()


# --- overrides (P2) ---

OVERRIDES = {
    "apache": {
        "overrides/server/50-mine.conf": "Timeout 77\nRedirect 302 /override /elsewhere\n",
        "overrides/accounts/2/mine.conf": "Redirect 302 /mine /yours\n",
        "overrides/server/notes.txt": "not read by anybody\n",
    },
    "bind": {
        "overrides/options/mine.conf": "edns-udp-size 1300;\n",
        "overrides/server/mine.conf": 'acl "mine" { 192.0.2.0/24; };\n',
        "overrides/server/notes.txt": "not read by anybody\n",
    },
}


def put_overrides(lane: RealLane) -> dict[Path, bytes]:
    for name, text in OVERRIDES[lane.type.name].items():
        path = lane.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="ascii")
    return tree(lane)


def tree(lane: RealLane) -> dict[Path, bytes]:
    every = sorted((lane.root / "overrides").rglob("*"))
    return {path: path.read_bytes() if path.is_file() else b"" for path in every}


@pytest_twisted.ensureDeferred
async def test_p2_overrides_of_apache_hold_and_no_upgrade_touches_them(web: RealLane) -> None:
    before = put_overrides(web)
    await web.take(web.server(timeout=30))
    assert "Location: http://own.test/yours" in (await web.status("own.test", "/mine"))[1]
    web.journal.lanes.set_renderer(LANE, "another digest")
    await web.restart()
    await web.take(web.server(timeout=31), site("own.test", 2, settings=own("other.html")))
    (web.root / "apache2.conf").unlink()
    await web.lane.drift.repair("apache2.conf")
    await web.take(("site", "own.test", None))
    assert tree(web) == before
    assert await web.found() == {}
    await web.cold_restart()
    assert (await web.status("a.test"))[0] == 200


@pytest_twisted.ensureDeferred
async def test_p2_overrides_of_bind_hold_and_no_upgrade_touches_them(dns: RealLane) -> None:
    before = put_overrides(dns)
    dns.journal.lanes.set_renderer(LANE, "another digest")
    await dns.restart()
    assert (await dns.take(dns.server()))[""] == "applied"
    (dns.root / "named.conf").unlink()
    await dns.lane.drift.repair("named.conf")
    assert tree(dns) == before
    assert await dns.found() == {}
    await dns.cold_restart()
    assert await dns.serial("a.test") == 1


@pytest_twisted.ensureDeferred
async def test_named_starts_with_no_override_file_and_with_no_folder_for_them(
    dns: RealLane,
) -> None:
    for folder in ("overrides/options", "overrides/server", "overrides"):
        (dns.root / folder).rmdir()
    await dns.cold_restart()
    assert await dns.serial("a.test") == 1


@pytest_twisted.ensureDeferred
async def test_a_broken_override_takes_no_daemon_down_and_blames_no_customer(
    web: RealLane,
) -> None:
    broken = web.root / "overrides/server/broken.conf"
    broken.write_text("Nonsense on\n", encoding="ascii")
    process = web.process
    web.said.clear()
    change = Deferred.fromCoroutine(web.take(site("own.test", 2, settings=own("other.html"))))
    await web.until(lambda: web.lane.reports.condition == "blocked")
    assert "override file is refused" in web.lane.reports.message
    assert str(broken) in web.lane.reports.message
    assert web.outcomes() == {}
    with pytest.raises(EffectFailedError, match=r"broken\.conf"):
        await web.lane.restart_daemon()
    assert web.process == process
    assert (await web.status("a.test"))[0] == 200
    broken.unlink()
    await web.lane.retry("", "")
    assert (await change)["own.test"] == "applied"


@pytest_twisted.ensureDeferred
async def test_a_broken_override_of_an_account_holds_its_sites_and_no_other(
    web: RealLane,
) -> None:
    folder = web.root / "overrides/accounts/3"
    folder.mkdir()
    (folder / "broken.conf").write_text("Nonsense on\n", encoding="ascii")
    told = await web.take(
        site("three.test", 3, settings=own()), site("own.test", 2, settings=own("other.html"))
    )
    assert told == {"three.test": "held", "own.test": "applied"}
    assert "override file is refused" in web.words()
    assert str(folder) in web.words()
    (folder / "broken.conf").unlink()
    await web.lane.retry("", "")
    await web.until(lambda: web.outcomes()["three.test"] == "applied")


@pytest_twisted.ensureDeferred
async def test_a_broken_override_of_bind_is_told_before_named_reads_it(dns: RealLane) -> None:
    broken = dns.root / "overrides/options/broken.conf"
    broken.write_text("recursion maybe;\n", encoding="ascii")
    process = dns.process
    change = Deferred.fromCoroutine(dns.take(dns.server()))
    await dns.until(lambda: dns.lane.reports.condition == "blocked")
    assert "override file is refused" in dns.lane.reports.message
    with pytest.raises(EffectFailedError, match=r"broken\.conf"):
        await dns.lane.restart_daemon()
    assert dns.process == process
    assert await dns.serial("a.test") == 1
    broken.unlink()
    await dns.lane.retry("", "")
    assert (await change)[""] == "applied"


@pytest_twisted.ensureDeferred
async def test_a_checker_that_was_removed_takes_no_daemon_down(dns: RealLane) -> None:
    there = dns.programs["named-checkconf"]
    dns.programs["named-checkconf"] = there.with_name("removed")
    change = Deferred.fromCoroutine(dns.take(dns.server(), zone("a.test", 2)))
    await dns.until(lambda: dns.lane.reports.condition == "blocked")
    assert "cannot be checked: named-checkconf" in dns.lane.reports.message
    assert await dns.serial("a.test") == 1
    dns.programs["named-checkconf"] = there
    await dns.lane.retry("", "")
    assert (await change)["a.test"] == "applied"
    assert await dns.serial("a.test") == 2


@pytest_twisted.ensureDeferred
async def test_without_its_checker_a_first_daemon_is_down_and_not_blocked() -> None:
    lane = RealLane("bind")
    there = lane.programs["named-checkconf"]
    lane.programs["named-checkconf"] = there.with_name("removed")
    await lane.start()
    try:
        change = Deferred.fromCoroutine(lane.take(lane.server()))
        await lane.until(lambda: lane.lane.reports.condition == "daemon-down")
        lane.programs["named-checkconf"] = there
        await lane.lane.retry("", "")
        assert await change == {"": "applied"}
    finally:
        await lane.end()


def _another_key(path: Path) -> None:
    """Give the control channel another key than the agent's, as a careless edit would."""
    text = path.read_text(encoding="ascii")
    path.write_text(re.sub(r'secret "[^"]+"', f'secret "{"A" * 43}="', text, count=1), "ascii")


@pytest_twisted.ensureDeferred
async def test_a_named_that_was_started_with_another_key_is_brought_back(dns: RealLane) -> None:
    before = (dns.root / "named.conf").read_bytes()
    _another_key(dns.root / "named.conf")
    await dns.cold_restart()
    change = Deferred.fromCoroutine(dns.take(zone("a.test", 2)))
    await dns.until(lambda: dns.lane.reports.condition == "blocked")
    assert "does not take the agent's key" in dns.lane.reports.message
    assert "hsctl drift repair" in dns.lane.reports.message
    assert await dns.serial("a.test") == 1
    answer = await dns.lane.drift.repair("named.conf")
    assert [(each.path, each.outcome) for each in answer.files] == [("named.conf", "repaired")]
    assert (await change)["a.test"] == "applied"
    assert (dns.root / "named.conf").read_bytes() == before
    assert await dns.serial("a.test") == 2
    assert await dns.found() == {}


@pytest_twisted.ensureDeferred
async def test_a_lost_journal_and_then_an_old_copy_of_it_leave_a_lane_that_is_mended(
    dns: RealLane,
) -> None:
    """The box that forgot all drew another key, which its old memory does not know."""
    path = dns.home / "journal.sqlite"

    async def remember(what: bytes | None) -> bytes:
        await dns.stop()
        dns.journal.close()
        former = path.read_bytes()
        path.unlink()
        if what is not None:
            path.write_bytes(what)
            path.chmod(0o600)
        dns.journal = Journal(path)
        if what is None:
            dns.journal.lanes.assign([(LANE, "one", "bind")], {LANE: "report"})
        await dns.start()
        return former

    old = await remember(None)
    await dns.take(dns.server(), zone("a.test"), zone("b.test", 4))
    await remember(old)
    change = Deferred.fromCoroutine(dns.take(zone("b.test", 5)))
    await dns.until(lambda: dns.lane.reports.condition == "blocked")
    assert await dns.serial("b.test") == 4
    await dns.lane.drift.repair("named.conf")
    assert (await change)["b.test"] == "applied"
    assert await dns.serial("b.test") == 5
