"""What named touches below its directory is what `packaging/apparmor/named` lets it.

Where AppArmor confines the distribution's named, that file is all it may do there beyond what the
distribution's own profile says. This machine's kernel may have no AppArmor: what a real named does
is seen by strace, and judged by the rules as ``apparmor.d(5)`` reads them.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

from templates.bind.objects import SecondaryZone
from templates.bind.service import BIND
from tests.daemons import programs
from tests.integration.named_lane import NamedLane
from tests.integration.test_bind_real import ZONE, served, zone

PROFILE = Path(__file__).parents[2] / "packaging" / "apparmor" / "named"
LANES = "/var/lib/heliosphere/agent/lservers"
CALLS = (
    "open,openat,creat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,link,linkat,chdir"
)
_CALL = re.compile(r"^\d+ +(?P<call>\w+)\((?P<arguments>.*?)(?:\) += |<unfinished)")
"""One that another thread's line cut in two has its arguments in the first half."""
_PATH = re.compile(r'"((?:[^"\\]|\\.)*)"')


class TracedLane(NamedLane):
    """A lane whose named is traced from its first step to its end, in each of its lives."""

    @property
    def trace(self) -> Path:
        return self.root.with_suffix(".trace")

    def start(self) -> None:
        tracer = ["strace", "-D", "-f", "-qq", "-s", "4096", "-e", f"trace={CALLS}"]
        named = [programs()["named"], *BIND.daemon.start(self.context)]
        subprocess.run(
            [*tracer, "-A", "-o", self.trace, "--", *named],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
        )

    def end(self) -> None:
        """End named in order, and wait for the last line of its trace."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        tracer = psutil.Process(int(status.partition("TracerPid:")[2].split()[0]))
        self.process.terminate()
        tracer.wait(60)

    def tear_down(self) -> None:
        super().tear_down()
        self.trace.unlink(missing_ok=True)

    def touched(self) -> set[tuple[str, str]]:
        """Give the paths below the lane, from it, each with a letter of what was asked of it."""
        found, folder = set(), Path("/")
        for line in self.trace.read_text(errors="replace").splitlines():
            match = _CALL.match(line)
            if match is None:
                continue
            call, arguments = match["call"], match["arguments"]
            paths = [folder / path for path in _PATH.findall(arguments)]
            if call == "chdir":
                folder = paths[0]
                continue
            asked = _asked(call, arguments)
            for path in paths:
                name = f"{path}/" if "O_DIRECTORY" in arguments else str(path)
                if name.startswith(f"{self.root}/"):
                    found |= {(name.removeprefix(str(self.root)), letter) for letter in asked}
        return found


def _asked(call: str, arguments: str) -> str:
    if call in ("open", "openat"):
        if "O_RDWR" in arguments:
            return "rw"
        return "w" if "O_WRONLY" in arguments or "O_CREAT" in arguments else "r"
    return "l" if call.startswith("link") else "w"


def rules() -> list[tuple[re.Pattern[str], str]]:
    """Read the profile's rules of paths below a lane: a pattern, and the letters it grants."""
    found = []
    for line in PROFILE.read_text().splitlines():
        if line.startswith("#"):
            continue
        path, letters = line.removesuffix(",").split()
        below = path.removeprefix(f"{LANES}/*")
        assert below != path, line
        found.append((_pattern(below), letters))
    return found


def _pattern(glob: str) -> re.Pattern[str]:
    words = re.escape(glob).replace(r"\*\*", ".+").replace(r"\*", "[^/]*")
    return re.compile(words)


def refused(touched: set[tuple[str, str]]) -> list[str]:
    granted = rules()
    return sorted(
        f"{letter} {path}"
        for path, letter in touched
        if not any(pattern.fullmatch(path) and letter in each for pattern, each in granted)
    )


@pytest.fixture
def lanes() -> Iterator[tuple[TracedLane, TracedLane]]:
    made = TracedLane("ns1"), TracedLane("ns2")
    try:
        for lane in made:
            lane.set_up()
        yield made
    finally:
        for lane in made:
            lane.tear_down()


@pytest_twisted.ensureDeferred
async def test_all_that_named_touches_is_in_its_profile(
    lanes: tuple[TracedLane, TracedLane],
) -> None:
    """From start to end: override files, zones added, changed, transferred and removed."""
    master, secondary = lanes
    for folder in ("options", "server"):
        own = master.root / "overrides" / folder / "own.conf"
        own.write_text("" if folder == "server" else "edns-udp-size 1232;\n")
        own.chmod(0o644)
    await deferToThread(master.end)
    await deferToThread(master.start)
    await master.apply(ZONE, zone(1, secondary.endpoint, www="192.0.2.1"))
    await secondary.apply(ZONE, SecondaryZone(masters=(master.endpoint,)))
    await served(secondary, ZONE, 1)
    await master.apply(ZONE, zone(2, secondary.endpoint, www="192.0.2.2"))
    await served(secondary, ZONE, 2)
    await secondary.apply(ZONE, None)
    await master.apply(ZONE, None)
    for lane in lanes:
        await deferToThread(lane.end)
        touched = lane.touched()
        assert {("/named.conf", "r"), ("/", "r"), ("/overrides/options/", "r")} <= touched
        assert any(letter == "w" and path.startswith("/state/") for path, letter in touched)
        assert refused(touched) == []


def test_a_rule_says_what_it_says() -> None:
    granted = {("/state/a/b", "w"), ("/zones/ab/shop.test", "r"), ("/", "r")}
    assert refused(granted) == []
    others = {
        ("/named.conf", "w"),
        ("/zones/ab/x.test", "w"),
        ("/secret", "r"),
        ("/zones/", "r"),
    }
    assert refused(others) == sorted(f"{letter} {path}" for path, letter in others)
