"""The file of profiles: private, whole, and never another default than the one chosen."""

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.client.errors import UnreachableError, UsageError
from controller.client.profiles import Profile, _quoted, forget, load, save


def profile(name: str, **more: str) -> Profile:
    return Profile(name, "https://127.0.0.1:8443", "-----BEGIN CERTIFICATE-----\nx\n", **more)


def test_what_is_saved_is_read_again_and_nobody_else_may(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "hsctl.toml"
    one, two = profile("local", token='hs_"\\\n'), profile("prod", certificate="/c", key="/k")
    save(one, path=path)
    save(two, path=path)
    assert load(path).by_name == {"local": one, "prod": two}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["hsctl.toml"]


def test_the_first_profile_is_the_default_and_stays_it(tmp_path: Path) -> None:
    path = tmp_path / "hsctl.toml"
    save(profile("prod"), path=path)
    save(profile("local"), path=path)
    assert load(path).default == "prod"
    save(profile("local"), make_default=True, path=path)
    assert load(path).default == "local"
    forget("local", path=path)
    assert (load(path).default, set(load(path).by_name)) == ("", {"prod"})


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "hsctl.toml"
    save(profile("local"), path=path)
    path.chmod(0o640)
    with pytest.raises(UnreachableError, match="chmod 600"):
        load(path)


@pytest.mark.parametrize(
    "text",
    ["x", "default = 1", "profiles = 1", "[profiles.a]\nurl = 1", "[profiles.a]\nother = 'x'"],
)
def test_a_file_that_makes_no_sense_is_said_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "hsctl.toml"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(UnreachableError):
        load(path)


@pytest.mark.parametrize(
    "url",
    ["http://a", "https://", "https://a/b", "https://u:p@a", "https://a:0", "https://a:x", "a"],
)
def test_only_the_address_of_a_controller_is_taken(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError):
        save(Profile("local", url, "x"), path=tmp_path / "hsctl.toml")


@pytest.mark.parametrize("name", ["", "a b", "a]", "../x", "x" * 65])
def test_a_name_is_a_plain_word(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        save(profile(name), path=tmp_path / "hsctl.toml")


@given(st.text())
def test_any_text_survives_being_quoted(text: str) -> None:
    import tomllib

    assert tomllib.loads(f"x = {_quoted(text)}")["x"] == text
