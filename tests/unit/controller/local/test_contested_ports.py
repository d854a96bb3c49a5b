"""Clusters that are brought up at the same moment: who loses a port chooses again."""

from pathlib import Path
from typing import Any

import pytest

from controller.local import cluster, places
from controller.local.cluster import LocalCluster
from controller.local.layout import ClusterPlan, Layout
from controller.local.supervisor import StartError

TAKEN = "cannot start: Couldn't listen on 127.0.0.1:8444: [Errno 98] Address already in use."


def bring_up(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *words: str, lost: bool = False
) -> list[str]:
    """Have starts fail with these words, one after the other; give what was said."""
    said: list[str] = []
    left = list(words)
    made = LocalCluster(Layout(tmp_path), "local", said.append)

    def start(
        self: LocalCluster, supervisor: Any, plan: ClusterPlan, programs: Any
    ) -> tuple[ClusterPlan, list[str]]:
        if left:
            raise StartError("the controller did not start", left.pop(0))
        return plan, []

    monkeypatch.setattr(LocalCluster, "_start", start)
    monkeypatch.setattr(places, "_loopback", lambda root, first: ())  # nobody gives them back
    monkeypatch.setattr(
        LocalCluster, "_plan", lambda self: places.choose_plan(tmp_path, made._claims, own=True)
    )
    monkeypatch.setattr(places, "taken_doors", lambda plan: [plan.agents] if lost else [])
    monkeypatch.setattr(cluster, "Supervisor", _Idle)
    with made._claims:
        made._started({}, lambda: False)
    return said


class _Idle:
    def __init__(self, *_: Any) -> None:
        pass

    def stop(self) -> None:
        pass


def test_a_port_that_is_free_again_after_it_was_taken_is_no_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = bring_up(monkeypatch, tmp_path, TAKEN, TAKEN)
    assert said == ["a port was taken by another program meanwhile: choosing again"] * 2


def test_a_port_that_is_still_taken_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (said,) = bring_up(monkeypatch, tmp_path, "", lost=True)
    assert said.startswith("127.0.0.1:")


def test_what_does_not_start_for_another_reason_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(StartError) as caught:
        bring_up(monkeypatch, tmp_path, "hs-controller: cannot start: no such database")
    assert "no such database" in caught.value.words


def test_it_is_not_tried_for_ever(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(StartError):
        bring_up(monkeypatch, tmp_path, *[TAKEN] * 9)
