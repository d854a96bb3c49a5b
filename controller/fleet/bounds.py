"""What a box says of itself, brought within bounds before it is stored or shown (S8)."""

from collections.abc import Sequence

from node_agent.wire.codec import WireError
from node_agent.wire.messages import Hello, LaneReport
from node_agent.wire.object_hash import from_text

LONGEST_MESSAGE = 4000
"""Characters kept of a daemon's own words."""
LONGEST_NAME = 200


def stored_text(text: str) -> str:
    """Give a peer's text as it may be stored and shown: bounded, line ends kept, no controls."""
    kept = "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for c in text[:LONGEST_MESSAGE]
    )
    return kept if len(text) <= LONGEST_MESSAGE else kept + "..."


def check_hello(hello: Hello) -> None:
    """Refuse a Hello whose words could not be stored; raises `WireError`."""
    for text in (hello.agent_version, hello.boot_id, hello.machine_id, hello.os_family):
        if len(text) > LONGEST_NAME or not text.isprintable():
            raise WireError("a name in the Hello is too long or not printable")
    if not hello.machine_id:
        raise WireError("the Hello names no machine")
    if len({report.lane for report in hello.lanes}) != len(hello.lanes):
        raise WireError("the Hello names a lane twice")
    for report in hello.lanes:
        _check_report(report)


def _check_report(report: LaneReport) -> None:
    try:
        from_text(report.object_hash)
    except ValueError:
        raise WireError("an object hash is not hexadecimal") from None
    if min(report.stored_revision, report.settled_revision) < 0:
        raise WireError("a revision is negative")
    if len(report.renderer) > LONGEST_NAME or not report.renderer.isprintable():
        raise WireError("a renderer digest is too long or not printable")


def storable(value: object) -> object:
    """Give free-form data as jsonb takes it: text without controls, names as text, no bytes."""
    if isinstance(value, str):
        return stored_text(value)
    if isinstance(value, dict):
        return {stored_text(str(key)): storable(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [storable(inner) for inner in value]
    if isinstance(value, bool | int | float | None):
        return value
    return stored_text(repr(value))
