"""Run the peers and the product, one after the other, and print what they took."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from tests.bench.figures import median, ms, table
from tests.bench.peers.ansible_over_ssh import Ansible
from tests.bench.peers.name_server import NameServer
from tests.bench.peers.ours import Ours
from tests.bench.peers.peer import Peer
from tests.bench.peers.salt_minions import Salt

PEERS: dict[str, Callable[[Path, int, NameServer], Peer]] = {"salt": Salt, "ansible": Ansible}


@attrs.define
class Took:
    """Seconds of each time that a job was done."""

    words: str
    fan_out: list[float]
    change: list[float]


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
    ours = took["ours"]
    rows = [
        (
            name,
            ms(median(each.fan_out)),
            f"{median(each.fan_out) / median(ours.fan_out):.1f}",
            ms(median(each.change)),
            f"{median(each.change) / median(ours.change):.1f}",
        )
        for name, each in took.items()
    ]
    head = ("", f"no-op to {arguments.agents}", "of ours",
            f"a zone of {arguments.zones:,}, until served", "of ours")  # fmt: skip
    print(table(head, rows))
    for name, each in took.items():
        print(f"\n{name}: {each.words}.")
    load = os.getloadavg()[0]
    print(f"\nmedians of {arguments.times}; load {load:.1f} at the end")


def _peer(folder: Path, name: str, arguments: argparse.Namespace) -> Took:
    folder.mkdir()
    _say(f"{name}: a name server of {arguments.zones:,} zones")
    server = NameServer.start(folder / "named", arguments.zones)
    try:
        _say(f"{name}: installing and starting")
        peer = PEERS[name](folder, arguments.agents, server)
        try:
            peer.start()
            _say(f"{name}: measuring")
            took = Took(peer.words, [], [])
            for turn in range(arguments.times + 1):
                fan_out = _timed(peer.no_op)
                zone, serial = f"z{turn % arguments.zones}.test", turn + 2

                def change(zone: str = zone, serial: int = serial) -> None:
                    peer.change(zone, serial)
                    server.until(zone, serial)

                change_took = _timed(change)
                if turn:  # the first turn opens connections and fills caches
                    took.fan_out.append(fan_out)
                    took.change.append(change_took)
            return took
        finally:
            peer.close()
    finally:
        server.close()


def _ours(folder: Path, arguments: argparse.Namespace) -> Took:
    _say("ours: starting a cluster and filling it")
    ours = Ours(folder, arguments.agents, arguments.zones)
    try:
        _say("ours: measuring")
        took = Took(ours.words, [], [])
        for turn in range(arguments.times + 1):
            fan_out = _timed(ours.no_op)
            ours.settle()
            change = _timed(lambda: ours.change("", 0))
            ours.settle()
            if turn:
                took.fan_out.append(fan_out)
                took.change.append(change)
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
    parser.add_argument("--only", nargs="*", choices=sorted(PEERS), default=sorted(PEERS))
    parser.add_argument("--dir", default="/var/tmp", help="where all of it is kept meanwhile")
    return parser.parse_args()


def _say(text: str) -> None:
    print(f"== {text}", file=sys.stderr, flush=True)


main()
