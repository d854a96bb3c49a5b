"""Dedicated addresses on a lane: up before they are listened on, back after a reboot (R355)."""

from node_agent.box.memory import MemoryFiles
from node_agent.wire.messages import Outcome, Outcomes
from tests.unit.node_agent.bench_of_one import LANE, gone, item, page, server
from tests.unit.node_agent.lane_bench import LaneBench
from tests.unit.node_agent.toy_service import ToyAddress, ToyPage

ONE, TWO = "192.0.2.50", "192.0.2.51"


def address(text: str, revision: int) -> object:
    return item("address", text, revision, ToyAddress())


def listening(bench: LaneBench) -> LaneBench:
    """Have the daemon die, as Apache does, of an address that is not there."""

    def starts(files: object) -> bool:
        assert isinstance(files, MemoryFiles)
        told = {path for path in files.nodes if path.startswith("addresses/") and "/." not in path}
        return told <= {f"addresses/{each}.conf" for each in bench.daemon.addresses}

    bench.world.starts = starts
    return bench


def outcomes(bench: LaneBench) -> list[Outcome]:
    return [one for message in bench.heard(Outcomes) for one in message.outcomes]


def exceptions(bench: LaneBench) -> dict[str, str]:
    return {one.key: one.outcome for one in bench.journal.exceptions(LANE)}


def reboot(bench: LaneBench) -> None:
    bench.daemon.kill()
    bench.daemon.addresses.clear()
    bench.daemon.log.clear()
    bench.start()


def test_an_address_is_up_before_the_server_listens_on_it() -> None:
    bench = listening(LaneBench())
    bench.take(server(1), address(ONE, 2))
    log = bench.daemon.log
    assert log.index(f"AddressUp {ONE}") < log.index("reload")
    assert log.index(f"check {ONE}") < log.index(f"AddressUp {ONE}")
    assert (bench.daemon.addresses, exceptions(bench)) == ({ONE}, {})


def test_an_address_of_another_machine_is_never_brought_up_and_holds_back_no_other() -> None:
    bench = listening(LaneBench())
    bench.world.foreign = lambda text: text == ONE
    bench.take(server(1), address(ONE, 2), address(TWO, 3))
    assert f"AddressUp {ONE}" not in bench.daemon.log
    assert bench.daemon.addresses == {TWO}
    assert exceptions(bench) == {ONE: "failed"}
    assert any("another machine has" in one.message for one in outcomes(bench))
    assert bench.daemon.log.count("reload") == 1


def test_an_address_comes_up_by_itself_once_nobody_else_has_it() -> None:
    bench = listening(LaneBench())
    bench.world.foreign = lambda text: text == ONE
    bench.take(server(1), address(ONE, 2))
    bench.world.foreign = lambda text: False
    bench.pass_time(120)
    assert (bench.daemon.addresses, exceptions(bench)) == ({ONE}, {})


def test_addresses_come_back_after_a_reboot_without_the_controller() -> None:
    bench = listening(LaneBench())
    bench.take(server(1), address(ONE, 2), address(TWO, 3))
    reboot(bench)
    bench.pass_time(10)
    log = bench.daemon.log
    assert bench.daemon.addresses == {ONE, TWO}
    assert max(log.index(f"AddressUp {each}") for each in (ONE, TWO)) < log.index("start")
    assert bench.daemon.alive
    assert exceptions(bench) == {}


def test_an_address_that_was_taken_meanwhile_keeps_nothing_else_from_coming_back() -> None:
    bench = listening(LaneBench())
    bench.take(server(1), address(ONE, 2), address(TWO, 3), page("p.test", 4))
    bench.world.foreign = lambda text: text == ONE
    reboot(bench)
    bench.pass_time(10)
    assert bench.daemon.alive
    assert bench.daemon.addresses == {TWO}
    assert bench.daemon.files.content(f"addresses/{ONE}.conf") is None
    assert exceptions(bench) == {ONE: "failed"}
    bench.world.foreign = lambda text: False
    bench.pass_time(200)
    assert (bench.daemon.addresses, exceptions(bench)) == ({ONE, TWO}, {})


def test_an_address_whose_file_was_taken_out_and_no_more_is_applied_anew() -> None:
    bench = listening(LaneBench())
    bench.take(server(1), address(ONE, 2))
    bench.daemon.files.remove(f"addresses/{ONE}.conf")
    reboot(bench)
    bench.pass_time(10)
    assert bench.daemon.files.content(f"addresses/{ONE}.conf") is not None
    assert exceptions(bench) == {}


def test_an_address_goes_down_after_the_last_that_requires_it_is_gone() -> None:
    bench = listening(LaneBench())
    bench.take(
        server(1),
        address(ONE, 2),
        item("page", "p.test", 3, ToyPage(account=1), ("address", ONE)),
    )
    assert exceptions(bench) == {}
    bench.take(gone("address", ONE, 4))
    assert exceptions(bench) == {ONE: "waiting"}
    assert bench.daemon.addresses == {ONE}
    bench.take(gone("page", "p.test", 5))
    assert (bench.daemon.addresses, exceptions(bench)) == (set(), {})
    assert bench.daemon.files.content(f"addresses/{ONE}.conf") is None


def test_a_page_waits_for_its_address() -> None:
    bench = listening(LaneBench())
    bench.world.foreign = lambda text: text == ONE
    bench.take(
        server(1),
        item("page", "p.test", 2, ToyPage(account=1), ("address", ONE)),
        address(ONE, 3),
        page("q.test", 4, account=2),
    )
    assert exceptions(bench) == {"p.test": "waiting", ONE: "failed"}
