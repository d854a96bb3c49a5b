"""The walk-through of six boxes: what its page says is done, word for word, and comes true.

The boxes are simulated: they enrol by the lines that the page's commands print, and hold what they
are sent. Text under a block of commands is what the commands must print.
"""

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import attrs
import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from controller.cluster.model.file import written
from controller.storage.embedded import EmbeddedPostgres
from node_agent.enrolment import controllers_met, enrol
from node_agent.wire.messages import Alive, FromController, Welcome
from pki.contexts import MutualTLS
from pki.enrolment import Token
from templates.registry import SERVICE_TYPES
from tests.controller_host import Host, controller_host
from tests.form_walk import SeenPage
from tests.integration.model import Model
from tests.panel_site import PanelSite, Visitor, panel_site
from tests.simulated_agent import SimulatedAgent

pytestmark = pytest.mark.timeout(400)

PAGE = (Path(__file__).parents[2] / "docs" / "operators" / "six-boxes.md").read_text()
_FENCED = re.compile(r"^```(.*)\n((?:.*\n)*?)^```$", re.MULTILINE)
GOLDEN = Path(__file__).parents[1] / "golden" / "six-boxes.toml"
_STEP = re.compile(r"^\d+\. ((?:.|\n   )+?)(?=\n\d|\n\n|\Z)", re.MULTILINE)
_WORDS = re.compile(r"\*\*(.+?)\*\*|\*(.+?)\* (?:`(.+?)`|\((.+?)\))")
_LINE = re.compile(r"hs-agent enrol --controller (\S+):(\d+) (hs1\S+)")


@attrs.frozen
class Fenced:
    """A fenced block of the page: how it is marked, and its text."""

    mark: str
    text: str

    @property
    def code(self) -> int:
        """How the last command of the block ends."""
        return int(self.mark.partition("exit=")[2] or 0)


def section(title: str) -> str:
    """Give the text of one section of the page."""
    return PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def rows() -> list[dict[str, str]]:
    """Give the rows of the page's first table, by column."""
    lines = [line for line in PAGE.split("\n## ", 1)[0].splitlines() if line.startswith("| ")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    columns = table[0]
    return [dict(zip(columns, row, strict=True)) for row in table[1:7]]


@attrs.frozen
class Step:
    """One step in the panel: what is pressed and filled in, in order."""

    words: tuple[tuple[str, str, str, str], ...]
    """Each is (what is pressed, field, its value, or the column that has it)."""

    @property
    def columns(self) -> set[str]:
        """The columns of the table that the step speaks of; it is taken for each row then."""
        pressed = {press[1:-1] for press, *_ in self.words if press.startswith("(")}
        return pressed | {column for *_, column in self.words if column}

    def taken(self, row: Mapping[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
        """Give what is pressed, and the fields that were filled in before."""
        fields: dict[str, str] = {}
        for press, name, value, column in self.words:
            if press:
                yield row[press[1:-1]] if press.startswith("(") else press, fields
                fields = {}
            else:
                fields[name] = value or row[column]


def steps() -> list[Step]:
    found = _STEP.findall(section("With the panel"))
    return [Step(tuple(_WORDS.findall(" ".join(step.split())))) for step in found]


def plain(text: str) -> str:
    """Give a text with single spaces: on a terminal columns are aligned."""
    return " ".join(text.split())


@pytest.fixture
def host(postgres: EmbeddedPostgres) -> Iterator[Host]:
    """A controller as the page begins with: set up, running, signed in to, its model empty."""
    with controller_host(postgres, 'service_domain = "example.net"') as here:
        made = here.host("init")
        assert made.returncode == 0, made.stderr
        here.start()
        token = here.host("admin", "token", "admin").stdout
        ca = str(here.directory / "state" / "pki" / "ca.pem")
        url = f"https://localhost:{here.port}"
        signed_in = here.hsctl("login", url, "--ca", ca, "--token", "-", stdin=token)
        assert signed_in.returncode == 0, signed_in.stderr
        yield here


def typed(host: Host, text: str) -> "subprocess.CompletedProcess[str]":
    """Run commands as they stand; what they say and what they print are one."""
    programs = Path(sys.executable).parent
    return subprocess.run(
        ["bash", "-e", "-c", text],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        timeout=300,
        cwd=host.directory,
        env={
            **os.environ,
            "PATH": f"{programs}:/usr/bin:/bin",
            "HSCTL_CONFIG": str(host.directory / "hsctl.toml"),
        },
    )


async def enrolled(line: "re.Match[str]", directory: Path) -> SimulatedAgent:
    """Enrol a box by the line that was printed for it, and connect it."""
    token = Token.parse(line[3])
    place = directory / token.box_id
    await enrol(
        reactor,
        line[1],
        int(line[2]),
        token=token,
        machine_id=f"machine-{token.box_id}",
        directory=place,
    )
    material = ((place / name).read_bytes() for name in ("certificate.pem", "key.pem", "ca.pem"))
    agent = SimulatedAgent(
        MutualTLS(*material),
        machine_id=f"machine-{token.box_id}",
        kinds={
            name: {kind.name: kind.version for kind in known.kinds.values()}
            for name, known in SERVICE_TYPES.items()
        },
    )

    def heard(message: FromController) -> None:
        if isinstance(message, Alive):
            agent.send(Alive())

    agent.heard = heard
    (controller,) = controllers_met(place)
    await agent.connect(reactor, controller.port)
    await agent.until(lambda: bool(agent.said(Welcome)))
    return agent


@ensureDeferred
async def test_the_commands_of_the_page_build_the_cluster(host: Host, tmp_path: Path) -> None:
    printed = all_printed = ""
    agents: list[SimulatedAgent] = []
    try:
        for block in (Fenced(*found) for found in _FENCED.findall(section("With hsctl"))):
            if block.mark.startswith("sh test"):
                ended = await deferToThread(typed, host, block.text)
                assert ended.returncode == block.code, f"{block.text}\n{ended.stdout[-5000:]}"
                printed, all_printed = ended.stdout, all_printed + ended.stdout
            elif block.mark == "text":
                for line in block.text.splitlines():
                    assert plain(line) in plain(printed), (line, printed[-5000:])
            elif "hs-agent enrol" in block.text:
                for found in _LINE.finditer(all_printed):
                    agents.append(await enrolled(found, tmp_path))
        assert len(agents) == 6
        held = {name for agent in agents for lane in agent.lanes.values() for name in lane.objects}
        assert {("zone", "example.net"), ("zone", "shop.example"), ("site", "shop.example")} <= held
        assert (
            'phpmyadmin_server = "web1.example.net"'
            in (host.directory / "cluster.toml").read_text()
        )
    finally:
        for agent in agents:
            await agent.leave()


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


async def press(visitor: Visitor, page: SeenPage, words: str, fields: dict[str, str]) -> SeenPage:
    """Follow the link of these words, or send the form with this button."""
    if not fields and words in page.links:
        return SeenPage(await visitor.text(page.links[words]))
    action, sent = page.form(words, fields)
    reply = await visitor.send(action, sent)
    if reply.status == 303:
        return SeenPage(await visitor.text(reply.headers["Location"]))
    assert reply.status == 200, reply.body.decode()
    return SeenPage(reply.body.decode())


@ensureDeferred
async def test_the_steps_of_the_page_build_the_same_cluster_in_the_panel(panel: PanelSite) -> None:
    visitor = await panel.signed_in()
    assert len(steps()) == 13
    for step in steps():
        for row in rows() if step.columns else [{}]:
            page = SeenPage(await visitor.text("/"))
            for words, fields in step.taken(row):
                page = await press(visitor, page, words, fields)
        if step.columns == {"box", "primary IP address", "server groups"}:
            for row in rows():
                await panel.connect(row["box"])
    assert "All rules hold" in await visitor.text("/health")
    assert written(await panel.model.ask("model.export")) == GOLDEN.read_text()
    assert "shop.example" in await visitor.text("/domains")
