"""Run the peers and the product, one after the other, and print what they took."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs

from tests.bench.figures import median, ms, table
from tests.bench.peers.ansible_over_ssh import Ansible
from tests.bench.peers.name_server import NameServer
from tests.bench.peers.ours import Ours
from tests.bench.peers.peer import Peer
from tests.bench.peers.salt_minions import Salt
from tests.bench.peers.side_by_side import changes_a_second

PEERS: dict[str, Callable[[Path, int, NameServer], Peer]] = {"salt": Salt, "ansible": Ansible}


@attrs.define
class Took:
    """Seconds of each time that a job was done, and changes a second side by side."""

    words: str
    fan_out: list[float] = attrs.field(factory=list)
    change: list[float] = attrs.field(factory=list)
    among_all: list[float] = attrs.field(factory=list)
    a_second: float = 0.0


def main() -> None:
    arguments = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="hs-peers-", dir=arguments.dir))
    folder.chmod(0o755)
    os.environ["HSCTL_CONFIG"] = str(folder / "hsctl.toml")
    try:
        took = {name: _peer(folder / name, name, arguments) for name in arguments.only}
        took["ours"] = _ours(folder, arguments)
    finally:
        shutil.rmtree(folder)
    print(_table(took, arguments))
    for name, each in took.items():
        print(f"\n{name}: {each.words}.")
    load = os.getloadavg()[0]
    print(f"\nmedians of {arguments.times}; load {load:.1f} at the end")


def _table(took: dict[str, Took], arguments: argparse.Namespace) -> str:
    ours = took["ours"]

    def cells(theirs: list[float], own: list[float]) -> tuple[str, str]:
        if not theirs:
            return "-", "-"
        return ms(median(theirs)), f"{median(theirs) / median(own):.1f}"

    rows = [
        (
            name,
            *cells(each.fan_out, ours.fan_out),
            *cells(each.change, ours.change),
            *cells(each.among_all, ours.among_all),
            f"{each.a_second:.1f}",
            f"1/{ours.a_second / each.a_second:.1f}",
        )
        for name, each in took.items()
    ]
    head = ("", f"no-op to {arguments.agents}", "of ours",
            f"a zone of {arguments.zones:,}", "of ours", "among all", "of ours",
            f"a second, {arguments.clients} side by side", "of ours")  # fmt: skip
    return table(head, rows)


def _peer(folder: Path, name: str, arguments: argparse.Namespace) -> Took:
    folder.mkdir()
    _say(f"{name}: a name server of {arguments.zones:,} zones")
    server = NameServer.start(folder / "named", arguments.zones)
    serials = {f"z{number}.test": 1 for number in range(arguments.zones)}
    try:
        _say(f"{name}: installing and starting")
        peer = PEERS[name](folder, arguments.agents, server)

        def change(zone: str) -> None:
            serials[zone] += 1
            peer.change(zone, serials[zone])
            server.until(zone, serials[zone])

        def change_among_all(zone: str) -> None:
            serials[zone] += 1
            peer.change_among_all(serials)
            server.until(zone, serials[zone])

        try:
            peer.start()
            took = Took(peer.words)
            _say(f"{name}: measuring one change after the other")
            # The first turn opens connections, fills caches, and is not counted.
            took.fan_out = [_timed(peer.no_op) for _ in range(arguments.times + 1)][1:]
            zones = [f"z{turn % arguments.zones}.test" for turn in range(arguments.times + 1)]
            took.change = [_timed(partial(change, zone)) for zone in zones][1:]
            if arguments.among_all:
                _say(f"{name}: measuring a change in the state of all zones")
                zones = [
                    f"z{turn % arguments.zones}.test" for turn in range(arguments.among_all + 1)
                ]
                took.among_all = [_timed(partial(change_among_all, zone)) for zone in zones][1:]
            _say(f"{name}: measuring changes side by side")
            took.a_second = changes_a_second(
                peer.clients(arguments.clients),
                tuple(serials),
                max(serials.values()) + 1,
                arguments.seconds,
                server.until,
            )
            return took
        finally:
            peer.close()
    finally:
        server.close()


def _ours(folder: Path, arguments: argparse.Namespace) -> Took:
    _say("ours: starting a cluster and filling it")
    ours = Ours(folder, arguments.agents, arguments.zones)
    try:
        took = Took(ours.words)
        _say("ours: measuring one change after the other")
        for turn in range(arguments.times + 1):
            fan_out = _timed(ours.no_op)
            ours.settle()
            change = _timed(ours.change)
            ours.settle()
            if turn:
                took.fan_out.append(fan_out)
                took.change.append(change)
        took.among_all = took.change
        _say("ours: measuring changes side by side")
        clients = ours.clients(arguments.clients)
        took.a_second = changes_a_second(clients, ours.zones, 1, arguments.seconds, ours.until)
        return took
    finally:
        ours.close()


def _timed(work: Callable[[], None]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="script/bench-peers", description="Measure Salt, Ansible and the product alike."
    )
    parser.add_argument("--agents", type=int, default=5, help="agents of the fan-out")
    parser.add_argument("--zones", type=int, default=1000, help="zones of each name server")
    parser.add_argument("--times", type=int, default=10, help="how often each job is done")
    parser.add_argument(
        "--among-all", type=int, default=0, help="how often one zone is changed in a state of all"
    )
    parser.add_argument("--clients", type=int, default=4, help="clients side by side")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long side by side")
    parser.add_argument("--only", nargs="*", choices=sorted(PEERS), default=sorted(PEERS))
    parser.add_argument("--dir", default="/var/tmp", help="where all of it is kept meanwhile")
    return parser.parse_args()


def _say(text: str) -> None:
    print(f"== {text}", file=sys.stderr, flush=True)


main()
