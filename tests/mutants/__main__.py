"""``script/mutants``: take guards out, one after another, and see their tests fail."""

import argparse
import queue
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from fnmatch import fnmatch

from tests.mutants.guards import MUTANTS
from tests.mutants.mutant import Mutant
from tests.mutants.trial import Copy, Result, copy_of, tried, unfit


def main(words: Sequence[str] | None = None) -> int:
    """Run; 0 where every mutant was killed, 1 where one was not, 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog="script/mutants",
        description="Take guards out of a copy of the tree, one by one: their tests must fail.",
        epilog="Exit codes: 0 all were killed; 1 one survived, or is broken; 2 wrong usage.",
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="a mutant, a pattern (pki.*) or a number (S6)"
    )
    parser.add_argument("--list", action="store_true", help="only list them")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="as many at once (2)")
    given = parser.parse_args(words)
    chosen = [
        mutant
        for mutant in MUTANTS
        if not given.names
        or any(fnmatch(mutant.name, name) or mutant.number == name for name in given.names)
    ]
    if not chosen:
        parser.error(f"no mutant is named {' or '.join(given.names)}: see --list")
    if given.list:
        for mutant in chosen:
            print(f"{mutant.number:4} {mutant.name:40} {mutant.file}")
        return 0
    return _try(chosen, max(given.jobs, 1))


def _try(chosen: Sequence[Mutant], jobs: int) -> int:
    results: list[Result] = []
    with ExitStack() as stack:
        # All copies first: what is edited meanwhile is of the next run.
        copies = [stack.enter_context(copy_of()) for _ in range(min(jobs, len(chosen)))]
        print(f"{len(chosen)} mutants; first their tests with every guard in place", flush=True)
        faults = unfit(copies[0], chosen)
        waiting: queue.SimpleQueue[Mutant] = queue.SimpleQueue()
        for mutant in chosen:
            fault = next((faults[test] for test in mutant.tests if test in faults), None)
            if fault is None:
                waiting.put(mutant)
            else:
                _tell(results, Result(mutant, "broken", fault))
        workers = [threading.Thread(target=_work, args=(copy, waiting, results)) for copy in copies]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    bad = sorted(result.mutant.name for result in results if not result.good)
    print(
        f"{len(results) - len(bad)} of {len(chosen)} killed" + "".join(f", not {it}" for it in bad)
    )
    return 0 if len(results) == len(chosen) and not bad else 1


def _work(copy: Copy, waiting: "queue.SimpleQueue[Mutant]", results: list[Result]) -> None:
    while True:
        try:
            mutant = waiting.get_nowait()
        except queue.Empty:
            return
        _tell(results, tried(copy, mutant))


def _tell(results: list[Result], result: Result) -> None:
    results.append(result)
    words = f"  ({result.words})" if result.words else ""
    mutant = result.mutant
    print(f"{result.verdict:8} {mutant.number:4} {mutant.name}{words}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
