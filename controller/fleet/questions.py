"""Questions to a box on its session: each has an id and a deadline, and one answer."""

from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from node_agent.wire.messages import Answer, Message, Question
from node_agent.wire.questions import AnyAsk, AnyFound

MOST_OPEN = 16
"""Questions of one session that may be open at once."""


class NoAnswerError(Exception):
    """The box did not answer: ``args[0]`` says why, in words for a person."""


class BoxAwayError(NoAnswerError):
    """The box has no session with this controller."""


@attrs.define(eq=False)
class Questions:
    """The open questions of one session; ``send`` takes what is asked."""

    clock: IReactorTime
    send: Callable[[Message], None]
    _open: dict[int, tuple[Deferred[AnyFound], IDelayedCall]] = attrs.field(factory=dict)
    _last: int = 0
    _ended: bool = False

    async def ask(self, ask: AnyAsk, seconds: float) -> AnyFound:
        """Ask, and wait for the answer; raises `NoAnswerError`."""
        if self._ended:
            raise BoxAwayError("the box is not connected")
        if len(self._open) >= MOST_OPEN:
            raise NoAnswerError("too many questions to the box are open")
        self._last += 1
        number, answer = self._last, Deferred[AnyFound]()
        deadline = self.clock.callLater(seconds, self._late, number, seconds)
        self._open[number] = (answer, deadline)
        self.send(Question(id=number, seconds=seconds, ask=ask))
        return await answer

    def answered(self, message: Answer) -> None:
        """Take an answer; one that nobody waits for any more is let go."""
        found = self._open.pop(message.id, None)
        if found is not None:
            answer, deadline = found
            deadline.cancel()
            answer.callback(message.found)

    def end(self) -> None:
        """End all questions: the session is over."""
        self._ended = True
        waiting, self._open = self._open, {}
        for answer, deadline in waiting.values():
            deadline.cancel()
            answer.errback(BoxAwayError("the connection to the box ended before it answered"))

    def _late(self, number: int, seconds: float) -> None:
        answer, _ = self._open.pop(number)
        answer.errback(NoAnswerError(f"the box did not answer within {seconds:g} seconds"))
