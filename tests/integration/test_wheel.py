"""The wheel: built from the tree, installed into an empty virtual environment, and it works."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scratch import scratch

TREE = Path(__file__).parents[2]
PACKAGES = ("controller", "node_agent", "pki", "templates")
DATA = (".j2", ".sql", ".css", ".js", ".svg", ".woff2", ".html", ".ico")
PROGRAMS = ("hsctl", "hs-controller", "hs-agent", "hs-ca")

pytestmark = pytest.mark.timeout(400)


def run(*command: str | Path, **more: object) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", **more.pop("env", {})}  # type: ignore[dict-item]
    return subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=environment,
        timeout=300,
        **more,  # type: ignore[call-overload]
    )


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Short, for the database's socket; passable, for the database's user."""
    made = scratch("hs-wheel-")
    made.chmod(0o711)
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def wheel(folder: Path) -> Path:
    """Built from a copy, as nothing of an earlier build may find its way in."""
    copy = folder / "tree"
    copy.mkdir()
    leave_out = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for package in PACKAGES:
        shutil.copytree(TREE / package, copy / package, ignore=leave_out)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(TREE / name, copy)
    proxies = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    keep = {"HOME": str(folder), **proxies}
    built = run(sys.executable, "-m", "build", "--wheel", "--outdir", folder, copy, env=keep)
    assert built.returncode == 0, built.stdout + built.stderr
    (file,) = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def programs(folder: Path, wheel: Path) -> Path:
    """The programs of an environment with our wheel and, by reference, what it requires."""
    place = folder / "venv"
    venv.create(place, with_pip=False, symlinks=True)
    (site,) = place.glob("lib/python*/site-packages")
    # A folder named in a .pth file has its own .pth files ignored: the editable tree stays out.
    (site / "required.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = place / "bin" / "python"
    pip = ("-m", "pip", "install", "--no-deps", "--no-index", "--ignore-installed", wheel)
    installed = run(python, *pip)
    assert installed.returncode == 0, installed.stderr
    return place / "bin"


def test_every_data_file_of_the_tree_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = set(archive.namelist())
    wanted = {
        str(path.relative_to(TREE))
        for package in PACKAGES
        for path in (TREE / package).rglob("*")
        if path.suffix in (*DATA, ".py")
    }
    assert wanted - packed == set()
    # script/assets fetches it; a wheel of a bare checkout would have a panel without a style.
    assert {
        "controller/web/panel/static/vendor/tabler.min.css",
        "controller/web/panel/templates/base.html.j2",
        "controller/storage/schema/0001.first-light.sql",
        "templates/bind/named.conf.j2",
    } <= packed


def test_nothing_but_the_packages_is_in_the_wheel(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)


def test_the_packages_are_the_wheels_and_not_the_trees(programs: Path) -> None:
    ran = run(
        programs / "python",
        "-c",
        "import controller, node_agent, pki, templates as t, json;"
        "print(json.dumps([m.__file__ for m in (controller, node_agent, pki, t)]))",
    )
    assert ran.returncode == 0, ran.stderr
    assert all(file.startswith(str(programs.parent)) for file in json.loads(ran.stdout))


def test_what_the_wheel_requires_is_all_there(programs: Path) -> None:
    ran = run(
        programs / "python",
        "-c",
        "from importlib.metadata import requires, version\n"
        "from pip._vendor.packaging.requirements import Requirement\n"
        "for text in requires('heliosphere'):\n"
        "    need = Requirement(text)\n"
        "    if need.marker is None or need.marker.evaluate({'extra': ''}):\n"
        "        assert version(need.name) in need.specifier, text",
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_starts(programs: Path, name: str) -> None:
    ran = run(programs / name, "--help")
    assert ran.returncode == 0, ran.stderr
    assert "Usage:" in ran.stdout


def test_a_controller_is_set_up_with_the_embedded_database(programs: Path, folder: Path) -> None:
    (folder / "controller.toml").write_text('state = "state"\n')
    ran = run(programs / "hs-controller", "init", "--config", folder / "controller.toml")
    assert ran.returncode == 0, ran.stderr
    assert "operator admin, password " in ran.stdout
    # And once more: what is there stays.
    again = run(programs / "hs-controller", "init", "--config", folder / "controller.toml")
    assert (again.returncode, again.stdout) == (0, "")


def test_a_template_is_rendered(programs: Path) -> None:
    ran = run(
        programs / "python",
        "-c",
        "from templates.render import render\n"
        "print(render('apache/index.html.j2', name='shop.test'))",
    )
    assert ran.returncode == 0, ran.stderr
    assert "<h1>shop.test</h1>" in ran.stdout
