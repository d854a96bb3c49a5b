"""Who wrote a line, on boxes that run BIND and Apache: their files are the ones that are told."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.local_cluster import Cluster
from tests.scratch import scratch

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    home = scratch("hs-why-")
    home.chmod(0o755)
    made = Cluster(home / "one", home)
    try:
        up = made.local("up", "--detach")
        assert up.code == 0, up
        made.good("account", "add", "acme")
        for name in ("one.test", "two.test"):
            made.good("domain", "add", name, "--account", "acme")
        yield made
    finally:
        made.local("reset", "--yes")
        shutil.rmtree(home, ignore_errors=True)


def change_of(printed: str) -> int:
    return int(json.loads(printed)["change"])


def why(cluster: Cluster, file: Path, line: int) -> dict[str, Any]:
    """Ask of a line of a file; what was told is what stands there."""
    box = file.relative_to(cluster.folder / "boxes").parts[0]
    answer: dict[str, Any] = json.loads(cluster.good("why", box, f"{file}:{line}", "-o", "json"))
    assert answer["text"] == file.read_text().splitlines()[line - 1]
    assert (answer["applied"], answer["exact"]) == (True, True)
    return answer


def line_of(file: Path, words: str) -> int:
    (line,) = [
        number
        for number, text in enumerate(file.read_text().splitlines(), 1)
        if text.strip().startswith(words)
    ]
    return line


def test_a_line_of_a_zone_file_leads_to_the_change_of_its_record(cluster: Cluster) -> None:
    asked = ("record", "add", "one.test")
    mail = change_of(cluster.good(*asked, "mail", "A", "192.0.2.7", "-o", "json"))
    text = change_of(cluster.good(*asked, "mail", "TXT", "in between", "-o", "json"))
    (file,) = (cluster.folder / "boxes").rglob("one.test.zone")
    lines = file.read_text().splitlines()
    told = {line: why(cluster, file, line) for line in range(1, len(lines) + 1)}
    by_words = {lines[line - 1].split(" IN ")[-1]: each for line, each in told.items()}
    assert by_words["A 192.0.2.7"]["change"]["id"] == mail
    assert by_words['TXT "in between"']["change"]["id"] == text
    assert {each["key"] for each in told.values()} == {"one.test"}
    assert {each["change"]["actor"] for each in told.values()} == {"operator:admin"}
    gone = change_of(
        cluster.good("record", "delete", "one.test", "mail", "TXT", "--yes", "-o", "json")
    )
    undone = change_of(cluster.good("change", "undo", str(gone), "-o", "json"))
    line = next(
        number
        for number, words in enumerate(file.read_text().splitlines(), 1)
        if "in between" in words
    )
    answer = why(cluster, file, line)
    assert (answer["change"]["id"], answer["change"]["command"]) == (undone, "change.undo")


def test_a_line_of_an_accounts_vhosts_leads_to_the_change_of_its_site(cluster: Cluster) -> None:
    changes = {
        name: change_of(cluster.good("site", "set", name, "--index", f"{name}.html", "-o", "json"))
        for name in ("one.test", "two.test")
    }
    (file,) = (cluster.folder / "boxes").rglob("accounts/*.conf")
    for name, change in changes.items():
        words = f"DirectoryIndex {name}.html"
        number = next(
            number
            for number, text in enumerate(file.read_text().splitlines(), 1)
            if text.replace('"', "").split() == words.split()
        )
        answer = why(cluster, file, number)
        assert (answer["kind"], answer["key"]) == ("site", name)
        assert answer["change"]["id"] == change


def test_what_stands_on_the_box_and_is_not_ours_is_not_told(cluster: Cluster) -> None:
    (file,) = (cluster.folder / "boxes").rglob("one.test.zone")
    lane = file.parents[2]
    box = file.relative_to(cluster.folder / "boxes").parts[0]
    own = lane / "zones" / "own.zone"
    own.write_text("a secret of the box\n")
    for path in (own, lane / "state" / "named.log", Path("/etc/passwd")):
        ran = cluster.hsctl("why", box, f"{path}:1")
        assert ran.code == 1
        assert "nothing that" in ran.err
        assert "a secret of the box" not in ran.out + ran.err
