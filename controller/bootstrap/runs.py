"""Enrolments over SSH as they run, and the rows that tell how far each is."""

from functools import partial
from typing import Any

import attrs
from psycopg2.extras import Json
from twisted.internet.defer import CancelledError, Deferred, DeferredList, ensureDeferred
from twisted.logger import Logger

from controller.bootstrap.job import SshFailedError, SshJob, Step, StepTold
from controller.bootstrap.procedure import Preparation, prepare_box, shown
from controller.bootstrap.ssh import Deadlines, log_in
from controller.fleet.events import publish
from controller.principal import system
from controller.storage.database import Database, Transaction

_SYSTEM = system("ssh-enrolment")
log = Logger()


@attrs.frozen
class _Ending:
    state: str
    reason: str = ""
    message: str = ""
    host_key: str = ""


class SshEnrolments:
    """Runs enrolments over SSH, each to its end."""

    def __init__(
        self,
        database: Database,
        reactor: Any,
        preparation: Preparation | None = None,
        deadlines: Deadlines | None = None,
    ) -> None:
        self._database = database
        self._reactor = reactor
        self._preparation = preparation or Preparation()
        self._deadlines = deadlines or Deadlines()
        self._running: dict[SshJob, Deferred[None]] = {}
        self._ended: set[SshJob] = set()
        """Those of them of which only the row is to be written still."""

    def begin(self, job: SshJob) -> None:
        """Begin an enrolment whose row was written."""
        running: Deferred[None] = ensureDeferred(self._run(job))
        self._running[job] = running
        running.addErrback(
            lambda failure: log.failure("an enrolment over SSH was broken off", failure)
        )
        running.addBoth(lambda _: self._forget(job))

    def _forget(self, job: SshJob) -> None:
        self._ended.discard(job)
        del self._running[job]

    async def stop(self) -> None:
        """Break off what runs; each row says so, or how it had ended."""
        running = dict(self._running)
        for job, one in running.items():
            if job not in self._ended:
                one.cancel()
        await DeferredList(list(running.values()))

    async def _run(self, job: SshJob) -> None:
        steps: dict[Step, StepTold] = {}

        async def tell(told: StepTold) -> None:
            steps[told.step] = told
            await self._write(job, steps, None)

        log.info("enrolment over SSH: box={box} host={host}", box=job.box_name, host=job.host)
        try:
            login = await log_in(self._reactor, job, self._deadlines, tell)
            try:
                await prepare_box(login, job, self._preparation, tell)
            finally:
                login.close()
            ending = _Ending("done", message="the box is enrolled", host_key=login.host_key)
        except SshFailedError as error:
            ending = _Ending("failed", error.reason, shown(str(error)), error.host_key)
        except CancelledError:
            ending = _Ending("failed", "interrupted", "the controller was stopped; try again")
        except Exception:
            # An error of ours: it must not leave a row that says it still runs.
            log.failure("an enrolment over SSH failed: box={box}", box=job.box_name)
            ending = _Ending("failed", "error", "the controller failed; its log says more")
        self._ended.add(job)
        log.info(
            "enrolment over SSH ended: box={box} {state} {reason}",
            box=job.box_name,
            state=ending.state,
            reason=ending.reason,
        )
        if ending.state == "failed":
            for step, told in steps.items():
                if told.state == "running":
                    steps[step] = StepTold(step, "failed", ending.message)
        await self._write(job, steps, ending)

    async def _write(
        self, job: SshJob, steps: dict[Step, StepTold], ending: _Ending | None
    ) -> None:
        await self._database.transaction(
            _SYSTEM, partial(_store, job=job, steps=steps, ending=ending), name="ssh.step"
        )


async def _store(
    tx: Transaction, job: SshJob, steps: dict[Step, StepTold], ending: _Ending | None
) -> None:
    told = [[step.step, step.state, step.words] for step in steps.values()]
    await tx.run(
        "UPDATE ssh_enrolment SET steps = %s WHERE box_id = %s AND id = %s",
        (Json(told), job.box, job.id),
    )
    if ending is not None:
        await tx.run(
            """UPDATE ssh_enrolment SET state = %s, reason = %s, message = %s, host_key = %s,
                      ended_at = now() WHERE box_id = %s AND id = %s""",
            (ending.state, ending.reason, ending.message, ending.host_key, job.box, job.id),
        )
    if steps.get("log-in", StepTold("log-in", "running")).state == "done":
        # Whoever had the password behind this key is the box: its key is pinned.
        await tx.run("UPDATE box SET ssh_host_key = %s WHERE id = %s", (job.host_key, job.box))
    await publish(tx, [{"box": job.box_name}])
