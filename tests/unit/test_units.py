"""The systemd units of the packages: systemd understands every line, and a boot has its order."""

import re
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from node_agent.main import main

UNITS = Path(__file__).parents[2] / "packaging" / "systemd"
NAMES = tuple(sorted(path.name for path in UNITS.iterdir()))


def directives(name: str) -> dict[str, list[str]]:
    """Give what each directive of a unit says, in words."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        key, mark, words = line.partition("=")
        if mark and not line.startswith("#"):
            found.setdefault(key, []).extend(words.split())
    return found


def complaints(folder: Path) -> str:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(folder / name) for name in NAMES)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    told = done.stdout + done.stderr
    return "\n".join(
        line for line in told.splitlines() if "heliosphere" in line or str(folder) in line
    )


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, of programs that are there."""
    for name in NAMES:
        text = (UNITS / name).read_text()
        text = re.sub(r"/usr/lib/heliosphere/bin/\S+|/usr/sbin/(named|apache2)", "/bin/true", text)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_systemd_understands_every_line(units: Path) -> None:
    assert complaints(units) == ""


def test_a_line_that_systemd_does_not_know_is_told(units: Path) -> None:
    agent = units / "heliosphere-agent.service"
    agent.write_text(agent.read_text().replace("ProtectHome=", "ProtectHomes="))
    assert "ProtectHomes" in complaints(units)


def test_a_web_server_boots_after_its_addresses_and_without_the_agent() -> None:
    web = directives("heliosphere-apache2@.service")
    addresses = directives("heliosphere-addresses.service")
    assert "heliosphere-addresses.service" in web["After"]
    assert "heliosphere-addresses.service" in web["Wants"]
    assert (addresses["Type"], addresses["RemainAfterExit"]) == (["oneshot"], ["yes"])
    assert addresses["Before"] == ["heliosphere-agent.service"]
    assert addresses["ExecStart"][1] in main.commands
    for key in ("After", "Wants", "Requires", "BindsTo"):
        assert "heliosphere-agent.service" not in web.get(key, [])


@pytest.mark.parametrize("name", NAMES)
def test_every_unit_is_in_the_package(name: str) -> None:
    rules = (UNITS.parent / "debian" / "rules").read_text()
    assert f"packaging/systemd/{name}" in rules


def test_the_units_start_programs_with_options_that_they_have() -> None:
    for name in ("heliosphere-agent.service", "heliosphere-addresses.service"):
        program, verb, *options = directives(name)["ExecStart"]
        assert program.endswith("/hs-agent")
        told = CliRunner().invoke(main, [verb, "--help"]).output
        assert all(option in told for option in options if option.startswith("--"))
