"""What the commands of the cluster ask of the rest: the running fleet, and the hosting side."""

from collections.abc import Collection, Iterable
from typing import Protocol

import attrs

from controller.bootstrap.job import SshJob
from controller.commands import Work
from node_agent.wire.questions import AnyAsk, AnyFound


@attrs.frozen
class EnrolmentInfo:
    """Where a new box enrols, and the CA that it must meet there."""

    host: str
    port: int
    ca_fingerprint: str
    install: str = "apt-get install --yes heliosphere-agent"
    """The line that installs the agent on a Linux box."""


class FleetPort(Protocol):
    """The part of the fleet that commands may use. Called after commit; none of it blocks."""

    def revoke(self, serials: Iterable[int]) -> None:
        """Refuse these certificates from now on, and end the sessions that use them."""

    def retry(self, server: str, kind: str = "", key: str = "") -> int:
        """Have the boxes of a logical server (its id) try an object again, or all of them.

        Gives how many boxes were asked.
        """

    def adopt(
        self,
        server: str,
        *,
        overwrite: bool,
        removed: int | None = None,
        boxes: Collection[str] | None = None,
    ) -> int:
        """Go on with the lanes of a logical server (its id) that are ahead; see `Fleet.adopt`."""

    def request_facts(self, box: str) -> bool:
        """Ask a box (its id) for a fresh system report; False where it is not connected."""

    def connected(self, box: str) -> bool:
        """Whether a box (its id) has a session with this controller."""

    async def ask(self, box: str, ask: AnyAsk, seconds: float) -> AnyFound:
        """Ask a box (its id) a question, outside of any transaction.

        Raises `controller.fleet.questions.NoAnswerError`.
        """

    def set_monitoring(self, box: str, on: bool) -> None:
        """Have a box (its id) send samples of its load, or none (R250)."""

    def refused(self, box: str) -> str:
        """Why a session of the box was refused lately, or nothing."""

    def duplicated(self) -> list[str]:
        """Give the boxes (their ids) whose identity a second machine showed lately."""


class SshPort(Protocol):
    """What enrols boxes over SSH."""

    def begin(self, job: SshJob) -> None:
        """Begin an enrolment whose row was written; called after the commit."""


class ServiceZonePort(Protocol):
    """The zone of the provider's own names, which follows the servers and their addresses."""

    async def check_name(self, work: Work, name: str, *, field: str) -> None:
        """Check that a logical server may have a name beside the domains that are hosted there.

        Raises `CommandError`.
        """

    async def sync(self, work: Work, *about: str, leaving: str = "") -> None:
        """Bring the service zone up to the rows; ``leaving`` is a name server about to go.

        ``about`` are the names of the logical server that changed, as it was and is: names of
        others are not looked at.
        """
