"""Which PostgreSQL's programs dump and restore an external server."""

from pathlib import Path

import pytest

from controller.storage import binaries
from controller.storage.binaries import BinariesError, find_binaries, find_clients


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system with the clients of 15, 17 and 18, and no server."""
    monkeypatch.setattr(binaries, "SYSTEM", tmp_path)
    for major in (15, 17, 18):
        program = tmp_path / str(major) / "bin" / "pg_dump"
        program.parent.mkdir(parents=True)
        program.write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {major}.4 (Debian)'\n")
        program.chmod(0o755)
    return tmp_path


@pytest.mark.parametrize(("server", "clients"), [(15, 15), (16, 17), (17, 17), (18, 18)])
def test_an_external_server_is_dumped_by_the_systems_oldest_programs_that_can(
    system: Path, server: int, clients: int
) -> None:
    found = find_clients(server)
    assert (found.major, found.directory) == (clients, system / str(clients) / "bin")


def test_a_newer_server_than_the_system_knows_leaves_those_that_come_with_us(system: Path) -> None:
    assert find_clients(19) == find_binaries()


def test_what_is_configured_goes_first(system: Path) -> None:
    directory = system / "15" / "bin"
    assert find_clients(18, directory).directory == directory


def test_a_folder_without_programs_is_refused(system: Path) -> None:
    with pytest.raises(BinariesError, match="no PostgreSQL programs in"):
        find_binaries(system)
