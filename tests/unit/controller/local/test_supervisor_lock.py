"""The lock of a local cluster: who holds it, how far he is, and what is not believed."""

import os
from pathlib import Path

import msgspec
import pytest

from controller.local.layout import Layout
from controller.local.processes import Identity, identity
from controller.local.supervisor import AlreadyRunningError, Holder, Lock, running


def test_looking_whether_a_cluster_runs_makes_nothing(tmp_path: Path) -> None:
    assert running(Layout(tmp_path / "none")) is None
    assert running(Layout(tmp_path)) is None
    assert list(tmp_path.iterdir()) == []


def test_the_holder_is_named_and_says_when_the_cluster_is_up(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with Lock(layout.lock) as lock:
        assert running(layout) == Holder(identity(os.getpid()), ready=False)
        lock.ready()
        assert running(layout) == Holder(identity(os.getpid()), ready=True)
    assert running(layout) is None


def test_a_second_supervisor_is_refused_with_the_firsts_number(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    with (
        Lock(layout.lock),
        pytest.raises(AlreadyRunningError, match=str(os.getpid())),
        Lock(layout.lock),
    ):
        raise AssertionError("two hold it")


def test_what_a_killed_supervisor_left_in_the_file_names_nobody(tmp_path: Path) -> None:
    """Its number may be another program's by now, which must not be signalled."""
    layout = Layout(tmp_path)
    layout.lock.write_bytes(msgspec.json.encode(Holder(identity(os.getpid()), ready=True)))
    assert running(layout) is None
    with Lock(layout.lock):
        late = Holder(Identity(os.getpid(), 1.0), ready=True)
        layout.lock.write_bytes(msgspec.json.encode(late))
        assert running(layout) == Holder()
        layout.lock.write_text("4711 of an older release")
        assert running(layout) == Holder()
