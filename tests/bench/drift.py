"""Part i: what it costs to verify many files; alone, ``python -m tests.bench.drift [FILES]``.

Prints processor seconds and bytes read of one round on demand, beside the same files only read
and hashed by a bare loop in the same run. A round on the timer does the same, spread over its time.
"""

import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

import psutil
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from node_agent.anew import Anew
from node_agent.concurrency import inline
from node_agent.effects.files import PosixFiles
from node_agent.journal import Journal
from node_agent.looks import file_of
from node_agent.records import WrittenFile
from node_agent.verifying import Verifier
from node_agent.wire.questions import Verified
from templates.bind.service import BIND
from templates.service_type import LaneContext

_LANE = "6f2d0c9e-0000-4000-8000-000000000001"


def measure(count: int, folder: Path) -> dict[str, float]:
    """Verify ``count`` zone files in ``folder``; give what it took."""
    files = PosixFiles(folder / "lane")
    journal = Journal(folder / "journal.sqlite")
    journal.lanes.assign([(_LANE, "ns1", "bind")])
    written = [_write(folder / "lane", number) for number in range(count)]
    with journal.transaction():
        journal.files.wrote(_LANE, written, ())
    clock = Clock()
    context = LaneContext(_LANE, None, PurePosixPath(folder), None)
    verifier = Verifier(
        Anew(_LANE, BIND, journal, lambda: context),
        files,
        every=0.0,
        blocking=inline,
        clock=clock,
        resting=lambda: False,
        tell=lambda told: None,
        ended=lambda drifted: None,
    )
    before, begin = time.process_time(), time.monotonic()
    read = _read_calls()
    answers: list[Any] = []
    Deferred.fromCoroutine(verifier.verify(3600.0)).addBoth(answers.append)
    while not answers:
        clock.advance(0)
    spent, took = time.process_time() - before, time.monotonic() - begin
    calls = _read_calls() - read
    assert answers == [Verified(files=count, drifted=0, ended=True)], answers
    before = time.process_time()
    for each in written:
        sha256((folder / "lane" / each.path).read_bytes()).hexdigest()
    bare = time.process_time() - before
    files.close()
    journal.close()
    return {
        "cpu": spent,
        "wall": took,
        "calls": float(calls),
        "bare": bare,
        "bytes": float(sum(each.size for each in written)),
    }


def _read_calls() -> int:
    """Give how many read calls this process has made."""
    return int(psutil.Process().io_counters().read_count)


def report(count: int, folder: Path) -> str:
    """Measure, and give a line."""
    found = measure(count, folder)
    return (
        f"i. {count:,} files verified: {found['cpu']:.2f} s of processor in {found['wall']:.2f} s,"
        f" {found['bytes'] / 1e6:.1f} MB in {found['calls']:,.0f} reads; only read and hashed:"
        f" {found['bare']:.2f} s ({found['cpu'] / found['bare']:.1f} times)"
    )


def _write(lane: Path, number: int) -> WrittenFile:
    content = f"; zone {number}\n".encode() + b"x" * 180 + b"\n"
    path = lane / "zones" / f"{number % 256:02x}" / f"z{number}.test.zone"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o644)
    looks = file_of(sha256(content).hexdigest())
    name = str(path.relative_to(lane))
    return WrittenFile(name, (f"zone:z{number}.test",), looks, len(content), 0o644, "agent")


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory(prefix="heliosphere-bench-") as folder:
        print(report(count, Path(folder)))


if __name__ == "__main__":
    main()
