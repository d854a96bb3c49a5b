"""The digest of a renderer changes with every file that decides what a box gets."""

import shutil
from importlib.resources import files
from pathlib import Path

import pytest

from templates import registry
from templates.bind.service import BIND


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "templates"
    shutil.copytree(str(files("templates")), copy)
    monkeypatch.setattr(registry, "files", lambda package: tmp_path / package)
    return copy


def digest() -> str:
    return registry._digest.__wrapped__(BIND.name)


@pytest.mark.parametrize("name", ["escape.py", "bind/zone.py", "bind/named.conf.j2"])
def test_a_changed_file_changes_the_digest(tree: Path, name: str) -> None:
    before = digest()
    with (tree / name).open("a") as file:
        file.write("\n")
    assert digest() != before


@pytest.mark.parametrize("name", ["apache/service.py", "bind/examples/new.json"])
def test_another_type_and_the_examples_do_not(tree: Path, name: str) -> None:
    before = digest()
    with (tree / name).open("a") as file:
        file.write("\n")
    assert digest() == before


def test_text_moved_from_one_file_to_another_changes_the_digest(tree: Path) -> None:
    (tree / "bind/a.j2").write_text("one")
    (tree / "bind/b.j2").write_text("two")
    before = digest()
    (tree / "bind/a.j2").write_text("on")
    (tree / "bind/b.j2").write_text("etwo")
    assert digest() != before
