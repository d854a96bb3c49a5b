"""S3: no id, name or path of a peer or a person reaches a file outside of where it belongs.

Cases: Salt CVE-2020-11652, CVE-2024-22231, CVE-2024-22232, PYSEC-2017-36 (the minion id, whose
first fix was incomplete); Puppet CVE-2012-1988.

On a box all goes through `node_agent.effects.files`, below the lane's directory; at the controller
nothing that handles a request or an agent's words opens a file by a name from there.
"""

import ast
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest
import pytest_twisted
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet import reactor

from node_agent.box.daemons import DirectDaemons, SystemdDaemons
from node_agent.box.interface import Absent, FileImage, LinkImage, is_lane_id
from node_agent.box.posix import PosixBox
from node_agent.effects.failures import EffectFailedError
from node_agent.effects.files import PosixFiles
from node_agent.grants import Grants
from node_agent.wire.messages import LaneAssignment, Outcomes
from templates.apache.objects import SiteSpec, site_unit
from templates.apache.service import plan as plan_site
from templates.bind.service import BIND
from templates.effects import MakeDirectory, RemovePath, Symlink, WriteFile
from templates.objects import ObjectId
from templates.service_type import LaneContext, PlanRefusedError, Unit
from tests.agent_process import AgentProcess
from tests.scripted_controller import ScriptedController
from tests.security.test_s17_config_injection_apache import CASE
from tests.strategies import hostile_texts
from tests.unit.templates.bind.specs import master, plan_zone

SOURCE = Path(__file__).parents[2]
SECRET = b"a secret of another lane"

parts = st.sampled_from(
    [
        "..",
        ".",
        "",
        "a",
        "etc",
        "passwd",
        "...",
        "..\\",
        "\0",
        "a\0",
        "x" * 300,
        "\uff0e\uff0e",
        "~",
    ]
)
paths = st.one_of(
    st.lists(parts, min_size=1, max_size=6).map("/".join),
    hostile_texts,
    st.sampled_from(
        [
            "../other/secret",
            "a/../../other/secret",
            "/etc/passwd",
            "..",
            "a/..",
            "./../other",
            "//x",
        ]
    ),
)


class Place:
    """A lane's directory beside another one, and what stands outside of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lane = folder / "lservers" / "one"
        (folder / "lservers" / "other").mkdir(parents=True)
        (folder / "lservers" / "other" / "secret").write_bytes(SECRET)
        (folder / "secret").write_bytes(SECRET)
        self.files = PosixFiles(self.lane)
        (self.lane / "a").mkdir()
        self.before = self.outside()

    def outside(self) -> dict[str, tuple[object, ...]]:
        """Everything but the lane's directory, with content and times."""
        found: dict[str, tuple[object, ...]] = {}
        for root, folders, names in os.walk(self.folder):
            if Path(root) == self.lane:
                folders.clear()
                continue
            for name in (*names, *folders):
                path = Path(root, name)
                status = path.lstat()
                content = path.read_bytes() if path.is_file() else b""
                found[str(path)] = (status.st_mode, status.st_uid, content)
        return found


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("box"))
    yield made
    made.files.close()


def operations(files: PosixFiles, path: str) -> dict[str, Callable[[], object]]:
    """Everything that takes a path: those of effects, of a journal's images, of a log."""
    return {
        "image": lambda: files.image(path),
        "tail": lambda: files.tail(path, 100),
        "stage": lambda: files.stage((WriteFile(path, b"mine"),)),
        "scratch": lambda: files.scratch((WriteFile(path, b"mine"),)),
        "commit": lambda: files.commit((WriteFile(path, b"mine"),)),
        "link": lambda: files.commit((Symlink(path, "a"),)),
        "make": lambda: files.commit((MakeDirectory(path),)),
        "remove": lambda: files.commit((RemovePath(path),)),
        "restore a file": lambda: files.restore(path, FileImage(b"mine", 0o644, 0, 0)),
        "restore a link": lambda: files.restore(path, LinkImage("a")),
        "restore nothing": lambda: files.restore(path, Absent()),
        "take away": lambda: files.remove(path),
        "discard": lambda: files.discard((path,)),
        "sync": lambda: files.sync((path,)),
    }


@given(path=paths)
@example("../other/secret")
@example("a/../../other/secret")
@example("..")
@example("../secret")
@example("a\0b")
@example("a/\ud800")
def test_no_path_leads_out_of_the_lane(place: Place, path: str) -> None:
    for name, run in operations(place.files, path).items():
        # An effect cannot be built with such a path; what is no effect is refused by the files.
        builds_an_effect = name in ("stage", "scratch", "commit", "link", "make", "remove")
        refusals = (EffectFailedError, ValueError) if builds_an_effect else (EffectFailedError,)
        try:
            found = run()
        except refusals:
            continue
        assert SECRET not in (found, getattr(found, "content", b"")), (name, path)
    assert place.outside() == place.before, path


LANES = (
    "..",
    ".",
    "",
    "../other",
    "a/b",
    "/etc",
    "a\0",
    "-rf",
    "--help",
    "a b",
    "a\n",
    "\uff0e\uff0e",
    "x" * 65,
    "a.b",
    "a@b",
    "*",
)


@pytest.mark.parametrize("lane", LANES)
def test_a_strange_id_of_a_lane_names_no_directory(tmp_path: Path, lane: str) -> None:
    root = tmp_path / "lservers"
    root.mkdir()
    box = PosixBox(reactor, root, Grants(), DirectDaemons(reactor, {}))
    with pytest.raises(ValueError, match="not the id of a lane"):
        box.lane(BIND, lane)
    assert os.listdir(root) == []
    assert os.listdir(tmp_path) == ["lservers"]


@pytest.mark.parametrize("lane", LANES)
@pytest_twisted.ensureDeferred
async def test_a_strange_id_of_a_lane_names_no_unit(lane: str) -> None:
    context = LaneContext(lane, None, PurePosixPath("/srv/lane"), daemon_user=None)
    daemons = SystemdDaemons(reactor, {"systemctl": PurePosixPath("/bin/true")})
    with pytest.raises(EffectFailedError, match="cannot name a systemd unit"):
        await daemons.start(context, BIND.daemon)


@given(st.uuids().map(str))
def test_the_ids_that_the_controller_gives_are_ids(lane: str) -> None:
    assert is_lane_id(lane)


@pytest_twisted.ensureDeferred
async def test_a_lane_with_a_strange_id_is_not_taken_and_not_kept(tmp_path: Path) -> None:
    """Also after a restart: what was kept in the journal would stop every start to come."""
    good = LaneAssignment("aaaaaaaa-0000-4000-8000-000000000001", "ns1", "bind")
    strange = tuple(LaneAssignment(lane, f"x{n}", "bind") for n, lane in enumerate(LANES))
    controller = ScriptedController(tmp_path, (*strange, good))
    await controller.listen()
    agent = AgentProcess([controller.port])
    try:
        controller.enrol(agent.state)
        for _ in range(2):
            controller.messages.clear()
            agent.start()
            said = await controller.until(lambda: controller.said(Outcomes))
            assert {outcomes.lane for outcomes in said} == {good.lane}
            assert os.listdir(agent.state / "lservers") == [good.lane]
            assert sorted(os.listdir(agent.directory)) == ["agent.toml", "grants.toml", "state"]
            assert await agent.terminate() == 0
    finally:
        await agent.sweep()
        await controller.close()


# --- what planning makes of names ---


@given(name=paths)
def test_no_name_of_a_zone_or_site_becomes_a_path_out_of_the_lane(name: str) -> None:
    plans = []
    with_name = SiteSpec(
        account=1,
        site=name,
        aliases=(),
        www=False,
        settings=CASE.site.settings,
        certificate=None,
    )
    context = LaneContext("l1", CASE.server, PurePosixPath("/srv/lane"), daemon_user=None)
    unit = site_unit("shop.test", with_name)
    for build in (
        lambda: plan_zone(None, master(), name),
        lambda: plan_site(
            context, Unit(unit, {}), Unit(unit, {ObjectId("site", "shop.test"): with_name})
        ),
    ):
        try:
            plans.append(build())
        except PlanRefusedError:
            continue
    for plan in plans:
        for effect in (*plan.files, *plan.scratch, *plan.retire):
            assert ".." not in PurePosixPath(effect.path).parts
            assert not effect.path.startswith("/")


# --- the controller ---

HANDLES_WORDS = ("web", "cluster", "hosting", "fleet", "projection")
"""The packages that a request or an agent's message comes through."""
OPENS_FILES = {
    "web/panel/assets.py": "our own files, read once at the start and known by their content",
}
_OPENING = {
    *("open", "read_text", "read_bytes", "write_text", "write_bytes", "unlink", "rename", "mkdir"),
    *("rmdir", "rmtree", "touch", "symlink_to", "hardlink_to", "chmod", "iterdir", "glob", "rglob"),
    *("listdir", "scandir", "walk", "mkdtemp", "NamedTemporaryFile", "TemporaryDirectory"),
    *("copyfile", "copytree", "write_private", "replace_durably", "read_private"),
}


def opened(tree: ast.AST) -> list[str]:
    """Give the calls that may touch a file."""
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in _OPENING
    ]


def test_nothing_that_handles_a_request_opens_a_file() -> None:
    for package in HANDLES_WORDS:
        for path in sorted((SOURCE / "controller" / package).rglob("*.py")):
            name = str(path.relative_to(SOURCE / "controller"))
            if name not in OPENS_FILES:
                assert opened(ast.parse(path.read_text())) == [], name


@pytest.mark.parametrize(
    "text",
    [
        "open(request.name)",
        "Path(base, name).read_text()",
        "os.open(name, 0)",
        "(self.root / name).write_bytes(b'')",
        "shutil.rmtree(folder)",
    ],
)
def test_the_check_finds_what_opens_a_file(text: str) -> None:
    assert opened(ast.parse(text)) == [text]


def test_the_examples_of_paths_do_lead_out_where_nothing_refuses_them() -> None:
    """The property above would see an escape: the plain functions of the system make one."""
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder))
        handle = os.open(place.lane, os.O_RDONLY)
        other = os.open("../other/secret", os.O_RDONLY, dir_fd=handle)
        assert os.read(other, 100) == SECRET
        os.close(other)
        os.unlink("../../secret", dir_fd=handle)
        os.close(handle)
        place.files.close()
        assert place.outside() != place.before
