"""The messages of the wire: frozen, tagged, unknown fields refused.

Protocol 2 has all of protocol 1, and the question `AskPreview`; protocol 3 has all of that, and a
lane's condition ``blocked`` (`node_agent.wire.older`).

No message carries a box id: a peer is who its certificate says it is. ``lane`` is the id of a
logical server; revisions grow per logical server. Times are seconds since the epoch.
"""

from typing import Literal

import msgspec

from node_agent.wire.questions import AnyAsk, AnyFound

PROTOCOL_MIN = 1
PROTOCOL_MAX = 3
PROTOCOL_PREVIEW = 2
"""The first protocol whose agents know `AskPreview`."""
PROTOCOL_BLOCKED = 3
"""The first protocol whose controllers know the condition ``blocked``."""


class Message(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    tag=True,
    tag_field="type",
    kw_only=True,
):
    """Base of every message."""


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A desired object on its way; ``spec`` None is a tombstone. The spec stays opaque here.

    ``change`` is the id of the change that asked for it: the box names it in its log.
    """

    kind: str
    key: str
    revision: int
    kind_version: int
    spec: bytes | None
    requires: tuple[tuple[str, str], ...] = ()
    change: int = 0


OutcomeName = Literal["applied", "superseded", "waiting", "quarantined", "failed", "held"]


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """What became of one object at one revision; ``message`` holds the daemon's own words."""

    kind: str
    key: str
    revision: int
    outcome: OutcomeName
    message: str = ""


LaneCondition = Literal[
    "ok", "behind", "held", "ahead", "blocked", "daemon-down", "disk-full", "new"
]


class LaneReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A lane as the agent holds it. ``object_hash``: see `object_hash` (hex).

    ``history`` is the history id under which the lane's objects were stored, empty for a new lane.
    """

    lane: str
    history: str
    stored_revision: int
    settled_revision: int
    object_hash: str
    renderer: str
    condition: LaneCondition


# --- agent to controller ---


class Hello(Message, frozen=True):
    """The agent's first message on a session.

    ``boot_id`` names the boot of the machine and, behind a slash, the life of the agent's process:
    two containers share the boot of their kernel. Older agents tell the boot alone, and older
    controllers take all of it for one.
    """

    protocol_min: int
    protocol_max: int
    agent_version: str
    boot_id: str
    machine_id: str
    os_family: str
    kinds: dict[str, dict[str, int]]
    """Service type -> object kind -> the newest version of it that this agent can read."""
    lanes: tuple[LaneReport, ...]

    @property
    def boot(self) -> str:
        """The boot of the machine alone."""
        return self.boot_id.partition("/")[0]


class Stored(Message, frozen=True):
    """A batch is durably stored: not yet done. ``object_hash``: of the lane's live objects."""

    lane: str
    batch: int
    stored_revision: int
    object_hash: str


class Outcomes(Message, frozen=True):
    """What became of objects. All up to ``settled_revision`` have an outcome.

    Objects not named here and not named since have been applied or superseded.
    """

    lane: str
    settled_revision: int
    outcomes: tuple[Outcome, ...]


class LaneState(Message, frozen=True):
    """The condition of a lane changed (``held``, ``daemon-down`` ...), with words for a person."""

    lane: str
    condition: LaneCondition
    message: str = ""


class Observed(Message, frozen=True):
    """The lane's name server was seen to answer ``zone`` with ``serial``."""

    lane: str
    zone: str
    serial: int


class Inventory(Message, frozen=True):
    """Answer to `InventoryRequest`: (kind, key, revision) of live objects, in pages."""

    lane: str
    items: tuple[tuple[str, str, int], ...]
    last: bool


DriftPolicy = Literal["report", "repair", "keep"]
"""What becomes of a file that somebody else changed: it is shown; it is brought back; it stays, and
changes that would overwrite it wait."""
DriftKind = Literal["changed", "missing", "kind", "mode", "owner"]
MOST_FINDINGS = 100
"""Findings of one lane that are told, at most."""
LONGEST_PATH = 400
"""Characters of a path, or of what is said of it, at most."""


class DriftFinding(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A file that is not as the agent wrote it; ``kind``: something else than a file is there."""

    path: str
    what: DriftKind
    words: str = ""


class Drift(Message, frozen=True):
    """All that is known of a lane's files. The first ``findings`` of ``total``, by path.

    ``verified_ago``: seconds since all of its files were last looked at, -1 where they were not.
    """

    lane: str
    files: int
    total: int
    findings: tuple[DriftFinding, ...]
    verified_ago: float


class SystemReport(Message, frozen=True):
    """System information of the box, as JSON-like data of bounded size (see ``sysinfo``)."""

    sampled_at: float
    facts: dict[str, object]


class Sample(Message, frozen=True):
    """How much of the box is in use, once every `Monitor.every`. Sizes in bytes, flows a second.

    ``processor`` is the share in use, 0 to 100; ``load`` the average of one minute; the disk is the
    fullest one. It is dated by who receives it: a box's clock may be wrong.
    """

    processor: float
    load: float
    memory_used: int
    memory_total: int
    disk_used: int
    disk_total: int
    disk_read: float
    disk_written: float
    net_received: float
    net_sent: float


class Answer(Message, frozen=True):
    """Answer to the `Question` of this id."""

    id: int
    found: AnyFound


class RenewalRequest(Message, frozen=True):
    """A new certificate signing request (PEM) for the box's own name."""

    csr: bytes


class Alive(Message, frozen=True):
    """Nothing to say; resets the silence deadline. Sent by either side."""


# --- controller to agent ---


class Welcome(Message, frozen=True):
    """Answer to `Hello`; the session may work from now on."""

    protocol: int
    history: str
    session_epoch: int
    interval: float
    """Send something at least this often (seconds); three intervals of silence end the session."""
    now: float


class Refused(Message, frozen=True):
    """The session ends: ``reason`` is one of a closed set, ``detail`` is for a person."""

    reason: Literal["protocol", "revoked", "duplicate-identity", "unknown-box", "busy"]
    detail: str
    retry_after: float = 60.0


class LaneAssignment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """A logical server that this box works: its id, name and service type."""

    lane: str
    name: str
    service_type: str
    drift: DriftPolicy = "report"


class Assign(Message, frozen=True):
    """All lanes of this box. One that is missing is worked no more; nothing is deleted."""

    lanes: tuple[LaneAssignment, ...]


class Batch(Message, frozen=True):
    """Objects to store, newest version only, ascending by revision.

    ``through`` is the revision up to which the lane is complete once this is stored.
    """

    lane: str
    batch: int
    history: str
    through: int
    items: tuple[Item, ...]


class Observe(Message, frozen=True):
    """Watch until the lane answers ``zone`` with a serial of at least this (RFC 1982)."""

    lane: str
    zone: str
    serial: int


class InventoryRequest(Message, frozen=True):
    """Hashes differ: tell what is there, so that only the difference is sent."""

    lane: str


class Forget(Message, frozen=True):
    """Objects that the controller does not know: removed by diff, after the guards."""

    lane: str
    items: tuple[tuple[str, str], ...]


class Retry(Message, frozen=True):
    """Try a quarantined or failed object again; an empty kind means all of the lane."""

    lane: str
    kind: str = ""
    key: str = ""


class Adopt(Message, frozen=True):
    """The operator chose what becomes of a lane that is ahead.

    ``overwrite`` False keeps what the box has until it is named anew, True lets repair by diff
    go on.
    """

    lane: str
    history: str
    overwrite: bool


class Renewed(Message, frozen=True):
    """The new certificate chain (PEM) for the last `RenewalRequest`."""

    certificate: bytes


class SystemRequest(Message, frozen=True):
    """Send a `SystemReport` now."""


class Monitor(Message, frozen=True):
    """Send a `Sample` every so many seconds from now on; 0: none, and no reports unasked."""

    every: float


class Question(Message, frozen=True):
    """Answer this within ``seconds``; the ``id`` is new on this session."""

    id: int
    seconds: float
    ask: AnyAsk


FromAgent = (
    Hello
    | Stored
    | Outcomes
    | LaneState
    | Observed
    | Inventory
    | Drift
    | SystemReport
    | Sample
    | Answer
    | RenewalRequest
    | Alive
)
FromController = (
    Welcome
    | Refused
    | Assign
    | Batch
    | Observe
    | InventoryRequest
    | Forget
    | Retry
    | Adopt
    | Renewed
    | SystemRequest
    | Monitor
    | Question
    | Alive
)
