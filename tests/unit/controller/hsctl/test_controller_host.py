"""Which controller of this host a backup is of: never a toy cluster instead of the real one."""

from pathlib import Path

import click
import pytest

from controller.client.errors import RefusedError, UnreachableError
from controller.client.profiles import Profile, save
from controller.hsctl.controller_host import chosen_config
from controller.hsctl.verbs import Session

TOY = "/toy/controller/controller.toml"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the host's own controller would have its file; `local` is the default profile."""
    path = tmp_path / "hsctl.toml"
    monkeypatch.setenv("HSCTL_CONFIG", str(path))
    monkeypatch.delenv("HSCTL_PROFILE", raising=False)
    save(Profile("local", "https://127.0.0.1:8443", "x", config=TOY), path=path)
    save(Profile("afar", "https://cp.test:8443", "x"), path=path)
    return tmp_path / "controller.toml"


def chosen(installed: Path, given: Path | None = None, profile: str | None = None) -> Path:
    with click.Context(click.Command("hsctl"), obj=Session(profile)):
        return chosen_config(given, installed)


def test_a_file_that_is_named_goes_before_all(installed: Path) -> None:
    installed.touch()
    assert chosen(installed, Path("/named"), "local") == Path("/named")


def test_a_profile_that_is_named_goes_before_the_hosts_controller(installed: Path) -> None:
    installed.touch()
    assert chosen(installed, profile="local") == Path(TOY)


def test_the_hosts_controller_goes_before_the_default_profile(installed: Path) -> None:
    installed.touch()
    assert chosen(installed) == installed


def test_the_default_profile_serves_where_there_is_nothing_else(installed: Path) -> None:
    assert chosen(installed) == Path(TOY)


def test_a_controller_elsewhere_is_refused(installed: Path) -> None:
    with pytest.raises(RefusedError, match="--config"):
        chosen(installed, profile="afar")


def test_an_unknown_profile_is_said_so(installed: Path) -> None:
    with pytest.raises(UnreachableError, match="no profile"):
        chosen(installed, profile="other")
