"""That the checks on the documentation find what they are for."""

from pathlib import Path

import click
import pytest

from docs import build


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(build, "TREE", tmp_path)
    (tmp_path / "docs").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "docs" / "other.md").write_text("# Other\n\n## What's `this`, then?\n")
    return tmp_path


def links(tree: Path, text: str) -> list[str]:
    (tree / "page.md").write_text(text)
    return list(build.broken_links(build.pages_of(tree)))


@pytest.mark.parametrize(
    "target",
    ["docs/other.md", "docs/other.md#whats-this-then", "docs/", "https://example.net/x", "#here"],
)
def test_a_good_link_is_good(tree: Path, target: str) -> None:
    assert links(tree, f"# Here\n[a]({target})\n") == []


@pytest.mark.parametrize("target", ["docs/gone.md", "docs/other.md#gone", "#gone"])
def test_a_link_that_leads_nowhere_is_found(tree: Path, target: str) -> None:
    (fault,) = links(tree, f"# Here\n[a]({target})\n")
    assert target in fault


def test_what_stands_in_a_block_is_no_link(tree: Path) -> None:
    assert links(tree, "```\n[a](gone.md)\n```\n") == []


def test_a_test_that_is_not_there_is_found(tree: Path) -> None:
    (tree / "tests" / "test_x.py").write_text("async def test_there() -> None: ...\n")
    page = tree / "page.md"
    page.write_text("`test_there` `test_gone`")
    assert list(build.missing_tests(page)) == ["page.md: there is no test test_gone"]


def test_a_page_that_is_not_as_the_code_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "page.md"
    page.write_text("old\n")
    (tmp_path / "exit-codes.md").write_text("| 0 | something else |\n")
    monkeypatch.setattr(build, "TREE", tmp_path)
    monkeypatch.setattr(build, "REFERENCE", tmp_path)
    monkeypatch.setattr(build, "made", lambda: {page: "new\n"})
    faults = list(build.stale())
    assert "page.md is stale" in faults[0]
    assert len(faults) == 1 + 6  # and no exit code's meaning is there
    page.write_text("new\n")
    assert not any("stale" in fault for fault in build.stale())


def test_help_is_that_of_every_command_below() -> None:
    @click.group()
    def top() -> None:
        """The top."""

    @top.command()
    def below() -> None:
        """The one below."""

    page = build.help_page("Title", (top, "top"))
    assert "## top\n" in page
    assert "## top below\n" in page
    assert "The one below." in page
