"""The operators' pages: their commands run as they stand, their map of files is the territory.

A block marked ``sh test`` is run; ``exit=N`` says how its last command ends. The blocks of a page
share one shell. Where a block speaks of a host with packages, folders are put in place of its own.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import translate
from pathlib import Path

import attrs
import pytest

from tests.local_cluster import Cluster
from tests.scratch import scratch

pytestmark = pytest.mark.timeout(400)

PAGES = Path(__file__).parents[2] / "docs" / "operators"
_BLOCK = re.compile(r"^```sh test(?: exit=(\d+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ROW = re.compile(r"^\| `([^`]+)` \| ([^|]*) \|", re.MULTILINE)


@attrs.frozen
class Block:
    """One tested block of a page."""

    page: str
    text: str
    code: int


def blocks(page: str) -> list[Block]:
    found = _BLOCK.findall((PAGES / page).read_text())
    return [Block(page, text, int(code or 0)) for code, text in found]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    home = scratch("hs-docs-")
    home.chmod(0o755)
    made = Cluster(home / "one", home)
    try:
        up = made.local("up", "--detach")
        assert up.code == 0, up
        made.good("account", "add", "acme")
        made.good("domain", "add", "shop.test", "--account", "acme")
        yield made
    finally:
        made.local("reset", "--yes")
        shutil.rmtree(home, ignore_errors=True)


def script_of(page: str, cluster: Cluster) -> str:
    """Write one script of a page's blocks, after those of the first page, which set the names."""
    etc, var = cluster.home / "etc", cluster.home / "var"
    etc.mkdir(exist_ok=True)
    var.mkdir(exist_ok=True)
    var.chmod(0o711)
    lines = ["set -u"]
    every = blocks("README.md") + ([] if page == "README.md" else blocks(page))
    for number, block in enumerate(every):
        text = block.text.replace("/etc/heliosphere", str(etc))
        text = text.replace("/var/lib/heliosphere/trial", str(var / "trial"))
        lines += [
            f"echo '== {block.page}, block {number}' >&2",
            *(
                # A block that must end well stops at the first command that does not.
                ["set -e", text]
                if block.code == 0
                else ["set +e", text, f'[ "$?" = {block.code} ] || exit 99']
            ),
        ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "page",
    sorted(
        path.name
        for path in PAGES.glob("*.md")
        if "```sh test" in path.read_text() and path.name != "six-boxes.md"  # has its own test
    ),
)
def test_the_commands_of_a_page_work(cluster: Cluster, page: str) -> None:
    programs = Path(sys.executable).parent
    ended = subprocess.run(
        ["bash", "-o", "pipefail", "-c", script_of(page, cluster)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        cwd=cluster.home,
        timeout=300,
        env={
            **cluster.environment,
            "PATH": f"{programs}:/usr/sbin:/usr/bin:/sbin:/bin",
            "LOCAL": f"--dir {cluster.folder}",
            "TMPDIR": str(cluster.home),
        },
    )
    assert ended.returncode == 0, f"{ended.stdout[-3000:]}\n{ended.stderr[-3000:]}"


SECTIONS = {
    "The controller's state": "controller",
    "The embedded database": "postgres",
    "An agent's state": "boxes/*/state",
    "A local cluster's own": "",
}


def rows(section: str) -> list[tuple[str, str]]:
    """Give (path pattern, modes) of a section of the map of files."""
    text = (PAGES / "files.md").read_text()
    part = text.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0]
    return [(path, modes.strip()) for path, modes in _ROW.findall(part)]


def pattern(path: str) -> "re.Pattern[str]":
    """``*`` is any name, ``**`` anything below."""
    names = [
        ".*" if part == "**" else translate(part).removeprefix("(?s:").removesuffix(r")\Z")
        for part in path.split("/")
    ]
    return re.compile(
        "/".join(name if name == ".*" else name.replace(".*", "[^/]*") for name in names)
    )


def files_below(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        for name in [*names, *(each for each in folders if (Path(place) / each).is_symlink())]:
            yield Path(place) / name


def test_the_map_of_files_is_complete_and_its_modes_are_true(cluster: Cluster) -> None:
    known: list[tuple[re.Pattern[str], str]] = []
    for section, prefix in SECTIONS.items():
        for path, modes in rows(section):
            known.append((pattern(f"{prefix}/{path}".lstrip("/")), modes))
    assert len(known) > 40
    wrong = []
    for file in files_below(cluster.folder):
        name = str(file.relative_to(cluster.folder))
        modes = next((modes for regex, modes in known if regex.fullmatch(name)), None)
        try:
            found = file.lstat().st_mode
        except FileNotFoundError:  # a daemon's file may go at any time
            continue
        kind = "link" if stat.S_ISLNK(found) else f"{stat.S_IMODE(found):04o}"
        if modes is None or (modes != "*" and kind not in modes.split()):
            wrong.append((name, kind, modes))
    assert wrong == []


def test_no_private_file_is_readable_by_others(cluster: Cluster) -> None:
    loose = [
        str(file)
        for file in files_below(cluster.folder)
        if ("key" in file.name or "password" in file.name or "journal" in file.name)
        and not file.is_symlink()
        and file.stat().st_mode & 0o077
    ]
    assert loose == []
