"""Enrolments over SSH as they run: what a controller that stops leaves of them."""

from functools import partial
from typing import Any

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from controller.bootstrap import runs
from controller.bootstrap.job import SshFailedError, SshJob
from controller.bootstrap.runs import SshEnrolments

JOB = SshJob(
    id=1,
    box="b",
    box_name="web1",
    login="root",
    host="127.0.0.1",
    port=22,
    host_key="",
    anew=False,
    install="true",
    enrolment_endpoint="127.0.0.1:8445",
    token="t",
    password="p",
)


class SlowDatabase:
    """Holds each transaction back until it is let go, and tells whether it was cancelled."""

    def __init__(self) -> None:
        self.cancelled = 0
        self.reasons: list[str] = []
        self.held: list[Deferred[None]] = []

    async def transaction(self, principal: object, work: partial[Any], *, name: str) -> None:
        self.reasons.append(work.keywords["ending"].reason)
        held: Deferred[None] = Deferred(lambda _: self._cancel())
        self.held.append(held)
        await held

    def _cancel(self) -> None:
        self.cancelled += 1


async def refused(*_: object) -> Any:
    raise SshFailedError("host-key-unknown", "its key is not known")


async def never(*_: object) -> Any:
    await Deferred[None]()


@ensureDeferred
async def test_an_enrolment_that_has_ended_is_written_down_before_a_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "log_in", refused)
    database: Any = SlowDatabase()
    enrolments = SshEnrolments(database, reactor)
    enrolments.begin(JOB)
    stopped = Deferred.fromCoroutine(enrolments.stop())
    assert not stopped.called
    (ending,) = database.held
    ending.callback(None)
    await stopped
    assert (database.cancelled, database.reasons) == (0, ["host-key-unknown"])


@ensureDeferred
async def test_one_that_runs_is_broken_off_and_its_row_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runs, "log_in", never)
    database: Any = SlowDatabase()
    enrolments = SshEnrolments(database, reactor)
    enrolments.begin(JOB)
    assert database.held == []
    stopped = Deferred.fromCoroutine(enrolments.stop())
    (ending,) = database.held
    ending.callback(None)
    await stopped
    assert (database.cancelled, database.reasons) == (0, ["interrupted"])
