"""A cluster's directory: only what a cluster made is used, and only that is removed."""

from pathlib import Path

import pytest

from controller.local import cluster
from controller.local.layout import (
    ClusterPlan,
    ForeignDirectoryError,
    Layout,
    LocalBox,
    Place,
)


def plan(loopback: tuple[str, ...] = ()) -> ClusterPlan:
    here = "127.0.0.1"
    return ClusterPlan(
        service_domain="test",
        panel=Place(here, 1),
        agents=Place(here, 2),
        enrolment=Place(here, 3),
        boxes=(LocalBox("ns1", "dns", "bind", Place(here, 4), 5),),
        loopback=loopback,
    )


@pytest.fixture(autouse=True)
def own_profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSCTL_CONFIG", str(tmp_path / "hsctl.toml"))


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    root = tmp_path / "cluster"
    root.mkdir()
    return Layout(root)


def test_a_directory_with_other_things_is_not_used(layout: Layout) -> None:
    (layout.root / "precious").touch()
    with pytest.raises(ForeignDirectoryError, match="precious"):
        layout.check_usable()


def test_an_empty_one_and_the_rest_of_a_start_are(layout: Layout) -> None:
    layout.check_usable()
    layout.lock.touch()
    layout.log.touch()
    layout.check_usable()
    Layout(layout.root / "none").check_usable()


def test_a_foreign_cluster_json_is_said_to_be_foreign(layout: Layout) -> None:
    layout.plan.write_text('{"name": "kubernetes"}')
    with pytest.raises(ForeignDirectoryError, match=r"cluster\.json"):
        layout.check_usable()


def test_removal_leaves_what_no_cluster_made(layout: Layout) -> None:
    layout.write_plan(plan())
    layout.logs.mkdir()
    (layout.logs / "controller.log").touch()
    (layout.root / "precious").write_text("mine")
    assert cluster.remove(layout, "local-x") == ["precious"]
    assert [entry.name for entry in layout.root.iterdir()] == ["precious"]


def test_removal_follows_no_link(layout: Layout, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    layout.write_plan(plan())
    layout.logs.symlink_to(elsewhere)
    assert cluster.remove(layout, "local-x") == []
    assert not layout.root.exists()
    assert (elsewhere / "precious").exists()
