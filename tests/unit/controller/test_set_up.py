"""That nobody works in a state directory of somebody else."""

import os
from pathlib import Path

import pytest

from controller.config import ControllerConfig
from controller.set_up import database_of, make_keys


@pytest.fixture
def of_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ControllerConfig:
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    return ControllerConfig(state=tmp_path, database="postgresql://nowhere/")


def test_keys_are_not_made_in_the_state_of_another_user(of_another: ControllerConfig) -> None:
    with pytest.raises(PermissionError, match="run this as that user"):
        make_keys(of_another)
    assert list(of_another.state.iterdir()) == []


def test_the_database_of_another_user_is_not_started(of_another: ControllerConfig) -> None:
    with pytest.raises(PermissionError, match="runuser -u"), database_of(of_another):
        pass


def test_state_that_is_not_there_yet_is_nobodys(tmp_path: Path) -> None:
    config = ControllerConfig(state=tmp_path / "new", database="postgresql://nowhere/")
    with database_of(config) as url:
        assert url == "postgresql://nowhere/"
