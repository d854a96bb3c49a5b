"""``hsctl audit verify``: page after page, against heads that are kept elsewhere."""

import json
from pathlib import Path
from typing import Any

from pytest_twisted import ensureDeferred

from tests.unit.controller.hsctl.conftest import Cli
from tests.web_site import Asked, Told

NOTED = {"count": 1, "set_aside": 0, "unreadable": 0, "newest": 5, "newest_at": "t"}
CHAIN = 1500
"""The newest change of the chain that these tests pretend."""


def hash_of(seq: int) -> str:
    return f"{seq:064x}"


def page(asked: Asked) -> Told:
    """Answer as a chain of `CHAIN` changes that fits in itself."""
    start = int(asked.request.cursor or 0)
    end = min(CHAIN, start + asked.request.limit)
    if asked.request.through > start:
        end = min(end, asked.request.through)
    return Told(answer(start, end))


def answer(start: int, end: int, finding: Any = None) -> dict[str, Any]:
    return {
        "checked": end - start,
        "through": end,
        "hash": hash_of(end),
        "newest": CHAIN,
        "unsealed": 0,
        "anchors": NOTED,
        "finding": finding,
        "next": str(end) if end < CHAIN and finding is None else None,
    }


def notes(file: Path, *heads: tuple[int, str]) -> str:
    lines = [json.dumps({"at": "t", "seq": seq, "hash": text}) for seq, text in heads]
    file.write_text("".join(f"{line}\n" for line in lines))
    return str(file)


@ensureDeferred
async def test_the_whole_chain_is_asked_for_page_after_page(cli: Cli) -> None:
    cli.runner.answer = page
    ended = await cli.run("audit", "verify")
    assert ended.code == 0
    assert f"{CHAIN} changes, to number {CHAIN}" in ended.out
    assert [asked.request.cursor for asked in cli.runner.asked] == ["", "1000"]
    assert json.loads((await cli.run("audit", "verify", "-o", "json")).out)["checked"] == CHAIN


@ensureDeferred
async def test_the_first_broken_link_is_named_and_the_code_is_1(cli: Cli) -> None:
    finding = {"kind": "altered", "seq": 8, "id": 17, "what": "change 8 (id 17) was altered"}
    cli.runner.answer = lambda asked: Told(answer(0, 7, finding))
    ended = await cli.run("audit", "verify")
    assert ended.code == 1
    assert ended.err.splitlines()[-1] == (
        "hsctl: the audit does not hold: change 8 (id 17) was altered"
    )


@ensureDeferred
async def test_heads_that_are_kept_elsewhere_are_compared(cli: Cli, tmp_path: Path) -> None:
    cli.runner.answer = page
    kept = notes(tmp_path / "kept", (3, hash_of(3)), (900, hash_of(900)), (1400, hash_of(1400)))
    ended = await cli.run("audit", "verify", "--anchors", kept)
    assert ended.code == 0
    assert "3 heads, 2 compared" in ended.out  # the newest of each page vouches for the others
    anew = notes(tmp_path / "anew", (1400, hash_of(1)))
    ended = await cli.run("audit", "verify", "--anchors", anew)
    assert ended.code == 1
    assert "written anew: change 1400" in ended.err
    cut = notes(tmp_path / "cut", (CHAIN + 7, hash_of(7)))
    ended = await cli.run("audit", "verify", "--anchors", cut)
    assert ended.code == 1
    assert f"changes {CHAIN + 1} to {CHAIN + 7} at least were removed" in ended.err


@ensureDeferred
async def test_the_controllers_log_serves_as_heads_that_are_kept_elsewhere(
    cli: Cli, tmp_path: Path
) -> None:
    cli.runner.answer = page
    log = tmp_path / "controller.log"
    log.write_text(
        "2026-01-31T00:00:00.000+00:00 info controller.storage.anchoring audit head 12"
        f" {hash_of(13)}\n"
    )
    ended = await cli.run("audit", "verify", "--anchors", str(log))
    assert ended.code == 1
    assert "written anew: change 12" in ended.err
    log.write_text("nothing of it\n")
    assert (await cli.run("audit", "verify", "--anchors", str(log))).code == 2
