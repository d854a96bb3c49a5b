"""What is asked of a peer, and how one is installed."""

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

Client = Callable[[str, int], int]
"""Changes a zone, given with its next serial; gives the serial that will be served."""


class Peer(Protocol):
    """A peer that was installed."""

    words: str
    """How it is set up: versions and configuration."""

    def start(self) -> None:
        """Start its programs, and wait until every agent answers."""

    def no_op(self) -> None:
        """Tell every agent to do nothing, and wait for the last answer."""

    def change(self, zone: str, serial: int) -> None:
        """Have the zone's file rendered with the serial, and the name server reload it."""

    def change_among_all(self, serials: Mapping[str, int]) -> None:
        """Apply the state of all zones, of which one has another serial than before."""

    def clients(self, count: int) -> Sequence[Client]:
        """Give clients that change zones side by side, each one zone after the other."""

    def close(self) -> None:
        """End all of its processes."""


def install(folder: Path, name: str, requirements: Sequence[str]) -> Path:
    """Make a virtual environment with ``requirements``; give its directory of programs."""
    place = folder / name
    subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    pip = [str(place / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *requirements], check=True, stdout=sys.stderr)
    return place / "bin"


def version(programs: Path, package: str) -> str:
    """Give the version of a package that was installed beside ``programs``."""
    words = ("-c", f"import importlib.metadata as m; print(m.version({package!r}))")
    found = subprocess.run(
        [str(programs / "python"), *words], check=True, capture_output=True, text=True
    )
    return found.stdout.strip()
