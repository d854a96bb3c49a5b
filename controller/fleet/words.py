"""What boxes say of their lanes, on its way into the database: plain records."""

from collections.abc import Callable, Mapping

import attrs

from controller.fleet.lane_store import LaneKey
from controller.principal import system
from node_agent.wire.messages import DriftFinding, Outcome

FLEET = system("fleet")


@attrs.frozen
class Acknowledged:
    """One object of a stored batch: its share of the lane's hash, None where it is gone."""

    kind: str
    key: str
    revision: int
    share: int | None


@attrs.frozen
class StoredWord:
    """A lane stored a batch, and told the hash that it came to.

    The lane's expected hash is summed where the shares of the replaced versions are, in the
    database. ``trusted``: the box's own word is taken for it. ``repaired``: with this batch the box
    has all that a repair sends again.
    """

    through: int
    told: int
    trusted: bool
    objects: tuple[Acknowledged, ...]
    repaired: bool = False


@attrs.frozen
class OutcomeWord:
    """What became of objects. ``complete`` names every exception up to ``settled``.

    It begins what a session tells: it replaces what was known, and may tell of less than that.
    """

    settled: int
    outcomes: tuple[Outcome, ...]
    complete: bool
    changes: tuple[int, ...] = ()
    """Changes known to be touched by this, beside those that the objects belong to."""
    overtaken: bool = False
    """Whether what was applied early may be settled by now, and need not be remembered apart."""


@attrs.frozen
class ConditionWord:
    """The condition of a lane changed."""

    condition: str
    message: str


@attrs.frozen
class ObservedWord:
    """A zone was seen with a serial; ``changes`` waited for it."""

    zone: str
    serial: int
    changes: tuple[int, ...]
    watched_through: int | None
    """All watches of changes up to here are seen; None where some are still open."""


@attrs.frozen
class DriftWord:
    """All that a box knows of a lane's files: how many there are, how many drifted, the first of
    those, and for how many seconds all have been verified (None: they were not).
    """

    files: int
    total: int
    findings: tuple[DriftFinding, ...]
    verified_ago: float | None


Word = StoredWord | OutcomeWord | ConditionWord | ObservedWord | DriftWord


@attrs.frozen
class Written:
    """What writing words came to: the boxes whose session is still their own, by epoch, and the
    expected hash of each lane that stored something.
    """

    fresh: Mapping[int, set[str]]
    hashes: Mapping[LaneKey, int]


@attrs.frozen(eq=False)
class Said:
    """One word of a lane's session, and what to do once it is written (or dropped as stale)."""

    lane: LaneKey
    box_name: str
    epoch: int
    word: Word
    written: Callable[[Written], None]
    stale: Callable[[], None]
