"""Installed packages as package managers list them, searched and paged (R251)."""

from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_twisted import ensureDeferred
from twisted.internet import reactor

from node_agent.effects.failures import BoxUnavailableError, EffectFailedError
from node_agent.effects.programs import OUTPUT_LIMIT
from node_agent.packages import installed, listed, page
from node_agent.wire.questions import MOST_PACKAGES, AskPackages, Package


def program(directory: Path, name: str, script: str) -> dict[str, PurePosixPath]:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return {name: PurePosixPath(path)}


def test_only_what_is_installed_is_listed_by_name() -> None:
    text = (
        "ii \tzlib1g:amd64\t1:1.2\nrc \told\t1\nii \tapt\t2.6\nhi \theld\t3\nnonsense\nii \t\t9\n"
    )
    assert listed(text) == (
        Package("apt", "2.6"),
        Package("held", "3"),
        Package("zlib1g:amd64", "1:1.2"),
    )


def test_names_and_versions_cannot_steer_a_terminal() -> None:
    assert listed("ii \ta\x1b[2J\t1\x07") == (Package("a?[2J", "1?"),)


@ensureDeferred
async def test_the_box_own_package_manager_is_asked_and_all_of_its_list_is_read(
    tmp_path: Path,
) -> None:
    lines = OUTPUT_LIMIT // 10
    script = f"seq 1 {lines} | sed 's/.*/ii \\tpackage&\\t1.0/'"
    table = program(tmp_path, "rpm", script)
    found = await installed(reactor, {**table, "dpkg-query": PurePosixPath("/none")}, seconds=60)
    assert len(found) == lines


@ensureDeferred
async def test_a_system_without_a_known_package_manager_is_said_so() -> None:
    with pytest.raises(EffectFailedError, match="this operating system"):
        await installed(reactor, {"dpkg-query": PurePosixPath("/nowhere/dpkg-query")}, seconds=60)


@ensureDeferred
async def test_a_package_manager_that_fails_or_hangs_is_told(tmp_path: Path) -> None:
    table = program(tmp_path, "dpkg-query", "echo the database is locked >&2; exit 2")
    with pytest.raises(EffectFailedError, match="status 2: the database is locked"):
        await installed(reactor, table, seconds=60)
    table = program(tmp_path, "dpkg-query", "exec sleep 600")
    with pytest.raises(BoxUnavailableError, match="did not end"):
        await installed(reactor, table, seconds=0.05)


SOME = tuple(Package(f"lib{number:04}", "1") for number in range(1200))


def test_a_search_takes_any_part_of_the_name_whatever_its_case() -> None:
    packages = (Package("apache2", "1"), Package("libapache2-mod", "1"), Package("bind9", "1"))
    found = page(packages, AskPackages(search="APACHE"))
    assert [one.name for one in found.packages] == ["apache2", "libapache2-mod"]


@given(limit=st.integers(-5, 2000))
def test_pages_put_together_are_the_list_and_each_is_bounded(limit: int) -> None:
    found: list[Package] = []
    more, after = True, ""
    while more:
        answer = page(SOME, AskPackages(after=after, limit=limit))
        assert 0 < len(answer.packages) <= min(max(limit, 1), MOST_PACKAGES)
        found += answer.packages
        more, after = answer.more, f"{found[-1].name}\t{found[-1].version}"
    assert tuple(found) == SOME


def test_versions_of_one_package_are_not_lost_between_pages() -> None:
    kernels = (Package("kernel", "5"), Package("kernel", "6"))
    first = page(kernels, AskPackages(limit=1))
    second = page(kernels, AskPackages(after="kernel\t5", limit=1))
    assert (first.packages + second.packages, second.more) == (kernels, False)
