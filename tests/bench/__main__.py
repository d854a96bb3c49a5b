"""Run the bench and print what it found: `script/bench` after set-up."""

import argparse
import os
import platform
import shutil
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.bench import (
    batch,
    cluster,
    crowd,
    drift,
    footprint,
    returning,
    sizes,
    skeleton,
    wide,
    wide_model,
)
from tests.bench.changes import Product, new_domains, record_changes
from tests.bench.figures import Times, table
from tests.bench.limit import Limit

HEAD = ("", "limit", "product", "ratio", "bar")


def main() -> None:
    arguments = _arguments()
    _print(f"machine: {_machine()}")
    if "f" in arguments.parts:
        _wide_model(arguments)
    if "g" in arguments.parts:
        _return_of_the_fleet(arguments)
    if "i" in arguments.parts:
        _verifying(arguments)
    for together in ("abcdej", "h"):  # a batch goes to empty name servers
        if chosen := set(arguments.parts) & set(together):
            _on_cluster(arguments, chosen)


def _wide_model(arguments: argparse.Namespace) -> None:
    """Run part f, which has a database and a controller of its own."""
    folder = Path(tempfile.mkdtemp(prefix="hs-wide-", dir=arguments.dir))
    folder.chmod(0o755)  # the database's user must be able to enter it
    size = wide_model.Size()
    try:
        size, times = (size.scaled(0.005), 1) if arguments.quick else (size, 40)
        wide.measure(folder, size, times, _say, _print)
    finally:
        shutil.rmtree(folder)


def _return_of_the_fleet(arguments: argparse.Namespace) -> None:
    """Run part g, which has a controller and a crowd of its own for each size."""
    sizes_of_it = (1_000, 10_000) if arguments.full else (1_000,)
    for count in arguments.agents or ((40,) if arguments.quick else sizes_of_it):
        folder = Path(tempfile.mkdtemp(prefix="hs-fleet-", dir=arguments.dir))
        folder.chmod(0o755)  # the database's user must be able to enter it
        try:
            returning.measure(folder, count, arguments.hold, _say, _print)
        finally:
            if not arguments.keep:
                shutil.rmtree(folder)


def _verifying(arguments: argparse.Namespace) -> None:
    """Run part i, which needs no cluster."""
    folder = Path(tempfile.mkdtemp(prefix="hs-drift-", dir=arguments.dir))
    try:
        count = 1_000 if arguments.quick else 100_000
        _say(f"verifying {count:,} files")
        _print("\n" + drift.report(count, folder))
    finally:
        shutil.rmtree(folder)


def _on_cluster(arguments: argparse.Namespace, chosen: set[str]) -> None:
    folder = Path(tempfile.mkdtemp(prefix="hs-bench-", dir=arguments.dir))
    folder.chmod(0o755)
    os.environ["HSCTL_CONFIG"] = str(folder / "hsctl.toml")
    root = folder / "cluster"
    try:
        _say("bringing up a cluster")
        bench = cluster.start(root)
        limit, product = Limit(bench), Product(bench)
        try:
            _run(arguments, chosen, bench, limit, product)
        finally:
            limit.close()
            product.close()
    finally:
        if arguments.keep:
            _say(f"the cluster runs on in {root}")
        else:
            cluster.stop(root)
            shutil.rmtree(folder)


def _run(
    arguments: argparse.Namespace,
    chosen: set[str],
    bench: cluster.Bench,
    limit: Limit,
    product: Product,
) -> None:
    begin = time.monotonic()
    domains, changes = (3, 10) if arguments.quick else (arguments.pairs // 2, arguments.pairs)
    if chosen & set("abej"):
        _say("new domains, limit and product in turns")
        used = footprint.Used(bench)
        times = new_domains(limit, product, domains if "b" in chosen else 1)
        if "b" in chosen:
            _pairs(f"b. new domain: two name servers and the site ({domains} pairs)", times)
            _print(used.for_each(domains))
    if "a" in chosen:
        _say("record changes, limit and product in turns")
        limit.stages.seconds.clear()
        used = footprint.Used(bench)
        times = record_changes(limit, product, changes)
        _pairs(f"a. record change: both name servers ({changes} pairs)", times)
        _print(f"  of the limit's median: {limit.stages.medians()}")
        _print(used.for_each(changes))
    if "j" in chosen:
        _say("record changes: limit, skeleton and product in turns")
        _print(skeleton.measure(bench, limit, product, changes))
    if "d" in chosen:
        _say("memory and idle CPU")
        _print(footprint.measure(bench, 3 if arguments.quick else 15))
    if "c" in chosen:
        count = 40 if arguments.quick else 1000
        _say(f"{count} simulated agents")
        _print(crowd.measure(bench, count))
    if "h" in chosen:
        _say("a batch of zones on empty name servers, and a poison object")
        count, poisoned = (60, 20) if arguments.quick else (arguments.batch, 1000)
        _print(batch.measure(bench, limit, count, poisoned))
    if "e" in chosen:
        _say("filling the name servers")
        wanted = (100, 10_000, 100_000) if arguments.full else (100, 10_000)
        wanted = (20, 100) if arguments.quick else wanted
        pairs = min(changes, 60)
        _print(sizes.measure(bench, limit, product, wanted, pairs))
    _print(f"\nmeasured in {time.monotonic() - begin:.0f} s")


def _pairs(title: str, times: Times) -> None:
    _print(f"\n{title}\n{table(HEAD, times.rows())}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="script/bench", description="Measure the product beside the limit of this machine."
    )
    parser.add_argument("--quick", action="store_true", help="a smoke run of under a minute")
    parser.add_argument("--full", action="store_true", help="also 100,000 zones (many minutes)")
    parser.add_argument("--pairs", type=int, default=200, help="pairs of limit and product")
    parser.add_argument(
        "--parts",
        default="abcdefghij",
        help="some of: a record change, b new domain, c many agents, d memory, e by number"
        " of zones, f wide model, g return of the fleet, h a batch of zones,"
        " i verifying files, j a record change by a skeleton of the product",
    )
    parser.add_argument(
        "--agents", type=int, nargs="*", help="numbers of agents of part g, instead of its own"
    )
    parser.add_argument(
        "--hold", type=float, default=0.0, help="minutes for which part g then watches the memory"
    )
    parser.add_argument("--batch", type=int, default=10_000, help="zones of part h's batch")
    parser.add_argument("--dir", default="/var/tmp", help="where the cluster is made: a real disk")
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    return parser.parse_args()


def _machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    memory = psutil.virtual_memory().total / 2**30
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} x {model}, {memory:.0f} GiB, {platform.freedesktop_os_release()['ID']} "
        f"{platform.freedesktop_os_release().get('VERSION_ID', '')}, kernel {platform.release()}, "
        f"Python {platform.python_version()}, load {load:.1f} at the start"
    )


def _print(text: str) -> None:
    print(text, flush=True)


def _say(text: str) -> None:
    print(f"== {text}", file=sys.stderr, flush=True)


main()
