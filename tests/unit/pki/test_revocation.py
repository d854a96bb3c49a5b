from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki.revocation import DenyList, DenyListError, parse_serial


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "denied-serials"


def test_a_denied_serial_is_in_the_list(path: Path) -> None:
    deny_list = DenyList.load(path)
    deny_list.add(0xAB)
    assert 0xAB in deny_list
    assert 0xAC not in deny_list


def test_the_list_survives_its_process(path: Path) -> None:
    for serial in (3, 1, 2, 2**159):
        DenyList.load(path).add(serial)
    assert list(DenyList.load(path)) == [1, 2, 3, 2**159]


def test_what_another_process_adds_counts_at_once(path: Path) -> None:
    ours = DenyList.load(path)
    assert 7 not in ours
    DenyList.load(path).add(7)
    assert 7 in ours
    DenyList.load(path).add(8)
    assert 8 in ours


def test_refresh_names_what_is_new(path: Path) -> None:
    ours = DenyList.load(path)
    ours.add(1)
    other = DenyList.load(path)
    other.add(2)
    other.add(3)
    assert ours.refresh() == {2, 3}
    assert ours.refresh() == frozenset()


def test_two_writers_lose_nothing(path: Path) -> None:
    first, second = DenyList.load(path), DenyList.load(path)
    first.add(1)
    second.add(2)
    first.add(3)
    assert list(DenyList.load(path)) == [1, 2, 3]


def test_a_list_that_is_not_there_yet_is_empty(path: Path) -> None:
    assert len(DenyList.load(path)) == 0
    assert not path.exists()


def test_a_list_that_vanishes_still_denies(path: Path) -> None:
    ours = DenyList.load(path)
    ours.add(1)
    path.unlink()
    assert 1 in ours


@pytest.mark.parametrize("content", [b"", b"1\n2\n", b"\xff\xfe", b"<html>"])
def test_a_damaged_list_lets_nobody_in(path: Path, content: bytes) -> None:
    ours = DenyList.load(path)
    ours.add(1)
    path.write_bytes(content)
    with pytest.raises(DenyListError, match="damaged"):
        assert 5 not in ours
    with pytest.raises(DenyListError, match="damaged"):
        DenyList.load(path)


def test_a_bad_line_is_damage(path: Path) -> None:
    DenyList.load(path).add(1)
    path.write_text(path.read_text() + "xyz\n")
    with pytest.raises(DenyListError, match="damaged"):
        DenyList.load(path)


@given(st.integers(1, 2**160 - 1))
def test_a_serial_survives_its_text(serial: int) -> None:
    assert parse_serial(f"{serial:x}") == parse_serial(f"{serial:X}") == serial


def test_a_serial_is_read_as_openssl_prints_it() -> None:
    assert parse_serial("0A:1b:FF") == 0x0A1BFF


@pytest.mark.parametrize(
    "text", ["", "0", "0x1", "-1", "g", "1 ", "1\n", "\uff11", "f" * 41, "\x1b[2J"]
)
def test_what_is_not_a_serial_is_refused(text: str) -> None:
    with pytest.raises(DenyListError) as refused:
        parse_serial(text)
    assert str(refused.value).isprintable()
