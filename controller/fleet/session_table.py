"""The sessions under way, one a box: who gives way when a box says Hello a second time."""

from collections import deque
from collections.abc import Iterator

from controller.fleet.hello import SessionRefusedError
from controller.fleet.sessions import Session
from node_agent.wire.messages import Hello

FORMER_BOOTS = 8
"""Boots, and lives of agents, remembered of a box whose session went over to another one."""


class SessionTable:
    """The live sessions of this controller, one a box."""

    def __init__(self) -> None:
        self._by_box: dict[str, Session] = {}
        self._former_boots: dict[str, deque[str]] = {}
        """Boots of each box that gave way to another one, the newest ones: none of them returns."""

    def __len__(self) -> int:
        return len(self._by_box)

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._by_box.values()))

    def get(self, box: str) -> Session | None:
        """Give a box's session."""
        return self._by_box.get(box)

    def make_way(self, box: str, hello: Hello) -> None:
        """Decide what becomes of a live session when its box says Hello anew.

        The same machine came back: its old connection is dead. Another machine with the same
        certificate: the newcomer is refused, and the operator is told. A machine that was copied
        whole has the same id; but no machine returns to an earlier boot, and no agent to an
        earlier life, so the one that comes back after the other took its place is refused, and the
        two do not chase each other.
        """
        living = self._by_box.get(box)
        if living is None:
            return
        if living.machine_id != hello.machine_id:
            raise SessionRefusedError(
                "duplicate-identity", "another machine has a session with this certificate"
            )
        if living.boot_id != hello.boot_id:
            former = self._former_boots.setdefault(box, deque(maxlen=FORMER_BOOTS))
            if hello.boot_id in former:
                raise SessionRefusedError(
                    "duplicate-identity",
                    "a copy of this machine, begun by itself, has a session with this certificate",
                )
            former.append(living.boot_id)
        living.lose("replaced by a newer session of the same machine")

    def add(self, session: Session) -> None:
        """Take a session in."""
        self._by_box[session.box] = session

    def remove(self, session: Session) -> None:
        """Let a session go; a newer one of the same box stays."""
        if self._by_box.get(session.box) is session:
            del self._by_box[session.box]
