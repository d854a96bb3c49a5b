"""Tending: what died is started again, and a start that fails is tried again."""

from pathlib import Path

import psycopg2
import pytest

from controller.local.layout import ClusterPlan, Layout, Place
from controller.local.supervisor import Supervisor
from controller.storage.embedded import EmbeddedPostgresError

SOMEWHERE = Place("127.0.0.1", 1)
PLAN = ClusterPlan("heliosphere.test", SOMEWHERE, SOMEWHERE, SOMEWHERE, (), ())


class ReluctantPostgres:
    """Starts at the third try."""

    def __init__(self, *errors: Exception) -> None:
        self.pid: int | None = None
        self._errors = list(errors)

    def start(self) -> str:
        if self._errors:
            raise self._errors.pop(0)
        self.pid = 4711
        return "postgresql://"


def test_a_database_that_does_not_start_yet_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    supervisor = Supervisor(Layout(tmp_path), PLAN, said.append)
    postgres = ReluctantPostgres(
        EmbeddedPostgresError("in use"), psycopg2.OperationalError("gone"), OSError("no room")
    )
    monkeypatch.setattr(supervisor, "postgres", postgres)
    for _ in range(5):
        supervisor.tend()
    assert postgres.pid == 4711
    assert [line for line in said if "yet" in line] == [
        "PostgreSQL does not start yet: in use",
        "PostgreSQL does not start yet: gone",
        "PostgreSQL does not start yet: no room",
    ]


def test_a_process_that_cannot_be_started_now_is_tried_again_and_holds_up_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reluctant:
        name = "agent-ns1"
        identity = None

        def __init__(self) -> None:
            self.started = iter([OSError("no room"), True])

        def tend(self) -> bool:
            now = next(self.started, False)
            if isinstance(now, OSError):
                raise now
            return now

    said: list[str] = []
    supervisor = Supervisor(Layout(tmp_path), PLAN, said.append)
    postgres = ReluctantPostgres()
    postgres.pid = 4711
    monkeypatch.setattr(supervisor, "postgres", postgres)
    monkeypatch.setattr(supervisor, "children", [Reluctant(), Reluctant()])
    supervisor.tend()
    assert said == ["agent-ns1 does not start yet: no room"] * 2
    supervisor.tend()
    assert said[2:] == ["agent-ns1 had ended: started again"] * 2
