"""A lane as the controller holds it, and whether it may go on after a Hello. Pure."""

from typing import Literal

import attrs

from node_agent.wire.messages import DriftPolicy, LaneReport
from node_agent.wire.object_hash import from_text


@attrs.frozen
class LaneRow:
    """A lane as the database has it when a session begins."""

    box: str
    server: str
    name: str
    service_type: str
    server_revision: int
    stored: int
    settled: int
    expected_hash: int
    condition: str
    message: str
    paused: bool = False
    """Whether its box is in maintenance: nothing is sent, changes wait."""
    drift: DriftPolicy = "report"
    """What becomes of its files that somebody else changed."""
    repairing: bool = False
    """Whether a repair has begun that is not known to have come to its end."""
    adopted: bool = False
    """Whether the box keeps what it had before a restore, as an operator chose."""


Step = Literal["resume", "restart", "repair", "keep", "ahead"]


@attrs.frozen
class Verdict:
    """What to do with a lane: go on, fill it from the start, compare object by object, keep what
    it has, or wait.

    ``message`` is for the operator.
    """

    step: Step
    message: str = ""


def judge(row: LaneRow, report: LaneReport | None, history: str) -> Verdict:
    """Compare what the box reports of a lane with what it acknowledged (design, section 3).

    A box that stored more than was acknowledged, but nothing that the controller does not know,
    lost only an acknowledgement: what follows is sent again and taken once.
    """
    if report is None or not report.history:
        return Verdict("resume") if row.stored == 0 else Verdict("restart")
    until = f"nothing is sent until an operator chooses: hsctl recover {row.name}"
    if report.history != history:
        return Verdict(
            "ahead", f"the box holds objects of another history of the database; {until}"
        )
    if report.stored_revision > row.server_revision:
        return Verdict(
            "ahead",
            f"the box stored revision {report.stored_revision}, the database knows"
            f" {row.server_revision}; {until}",
        )
    if row.adopted and report.stored_revision == 0 < row.stored:
        return Verdict("keep", "its adoption was cut off")
    if words := _difference(row, report):
        return Verdict("repair", words)
    return Verdict("resume")


def _difference(row: LaneRow, report: LaneReport) -> str:
    """Say why a lane is to be compared object by object; empty where it need not be."""
    if report.stored_revision < row.stored:
        return "the box lost objects that it had acknowledged"
    if report.stored_revision == row.stored and from_text(report.object_hash) != row.expected_hash:
        return "the box holds other objects than it acknowledged"
    return "an earlier repair was cut off" if row.repairing else ""
