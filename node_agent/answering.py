"""Answers what a controller asks of the box, one question beside the other, never too many."""

from collections.abc import Sequence

import attrs
from twisted.internet.interfaces import IReactorTime

from node_agent.effects.failures import (
    BoxUnavailableError,
    EffectFailedError,
    UnknownFileError,
)
from node_agent.effects.programs import ProgramTable
from node_agent.lanes import Lane
from node_agent.packages import installed, page
from node_agent.services import NotGrantedError, ServiceDesk
from node_agent.wire.messages import Answer, Question
from node_agent.wire.questions import (
    AnyFound,
    AskAction,
    AskDifference,
    AskLog,
    AskPackages,
    AskPreview,
    AskRepair,
    AskServices,
    AskVerify,
    Declined,
)

MOST_AT_ONCE = 4
"""Questions in work; the next one is told to come later."""
LONGEST_WORDS = 1000
PATIENCE = 0.8
"""Share of a question's time after which it is told how far a long work has come."""
SHORTEST, LONGEST = 1.0, 120.0
"""Seconds that a program started for a question may take, whatever the controller says."""


@attrs.define(eq=False)
class Answering:
    """Answers for one box. ``programs`` is the closed table of what may be started."""

    reactor: IReactorTime
    programs: ProgramTable
    desk: ServiceDesk
    _in_work: int = 0

    async def answer(self, question: Question, lanes: Sequence[Lane]) -> Answer:
        """Answer a question; a refusal is an answer too."""
        if self._in_work >= MOST_AT_ONCE:
            return Answer(
                id=question.id, found=Declined(reason="busy", words="the box is busy: ask again")
            )
        self._in_work += 1
        try:
            found = await self._found(question, lanes)
        except NotGrantedError as error:
            found = _declined("not-granted", error)
        except UnknownFileError as error:
            found = _declined("unknown", error)
        except EffectFailedError as error:
            found = _declined("failed", error)
        except BoxUnavailableError as error:
            found = _declined("unavailable", error)
        finally:
            self._in_work -= 1
        return Answer(id=question.id, found=found)

    async def _found(self, question: Question, lanes: Sequence[Lane]) -> AnyFound:
        seconds = min(max(question.seconds, SHORTEST), LONGEST)
        match question.ask:
            case AskPackages() as ask:
                return page(await installed(self.reactor, self.programs, seconds=seconds), ask)
            case AskServices():
                return await self.desk.services(lanes, seconds)
            case AskAction() as ask:
                return await self.desk.act(lanes, ask, seconds)
            case AskLog() as ask:
                return await self.desk.log(lanes, ask, seconds)
            case AskVerify() | AskDifference() | AskRepair() as ask:
                return await _of_files(lanes, ask, seconds)
            case AskPreview() as ask:
                return await _lane(lanes, ask.lane).preview(ask.objects, seconds * PATIENCE)


async def _of_files(
    lanes: Sequence[Lane], ask: AskVerify | AskDifference | AskRepair, seconds: float
) -> AnyFound:
    desk = _lane(lanes, ask.lane).drift
    match ask:
        case AskVerify():
            return await desk.verify(seconds * PATIENCE)
        case AskDifference():
            return await desk.difference(ask.path)
        case AskRepair():
            return await (desk.preview if ask.preview else desk.repair)(ask.path)


def _lane(lanes: Sequence[Lane], id: str) -> Lane:
    for lane in lanes:
        if lane.id == id:
            return lane
    raise EffectFailedError("this box does not work this logical server")


def _declined(reason: str, error: Exception) -> Declined:
    return Declined(reason=reason, words=str(error)[:LONGEST_WORDS])  # type: ignore[arg-type]
