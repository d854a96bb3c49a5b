"""Help on the box alone: status, hold, release and faults, from the journal.

None of it needs a controller, nor the agent: a hold is a durable flag in the journal, which a
running agent sees within a quarter of a second.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from node_agent.config import Config
from node_agent.journal import Journal
from node_agent.records import LaneRecord

HOLD_SECONDS = 10.0
"""How long ``hold`` waits for a running agent to let go of a lane."""
LOCK_FILE = "agent.lock"


@contextmanager
def _journal(config: Config) -> Iterator[Journal | None]:
    if not config.journal.exists():
        yield None
        return
    journal = Journal(config.journal)
    try:
        yield journal
    finally:
        journal.close()


def agent_running(config: Config) -> bool:
    """Tell whether an agent works this state directory."""
    try:
        handle = os.open(config.state / LOCK_FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def status(config: Config) -> dict[str, Any]:
    """Describe the agent and its lanes, as plain data."""
    with _journal(config) as journal:
        lanes = (
            [] if journal is None else [_describe(journal, each) for each in journal.lanes.all()]
        )
    return {"running": agent_running(config), "lanes": lanes}


def _describe(journal: Journal, lane: LaneRecord) -> dict[str, Any]:
    return {
        "id": lane.id,
        "name": lane.name,
        "service_type": lane.service_type,
        "assigned": lane.assigned,
        "condition": "held" if lane.held else lane.condition,
        "message": lane.message,
        "held": lane.held,
        "stored_revision": lane.stored_revision,
        "settled_revision": journal.settled_revision(lane.id),
        "served": journal.applied.count(lane.id),
        "faults": len(journal.exceptions(lane.id)),
        "unfinished": len(journal.entries.still_open(lane.id)),
    }


def faults(config: Config) -> list[dict[str, Any]]:
    """Give every exception of every lane, as plain data."""
    with _journal(config) as journal:
        if journal is None:
            return []
        return [
            {
                "lane": lane.name,
                "kind": each.kind,
                "key": each.key,
                "revision": each.revision,
                "outcome": each.outcome,
                "message": each.message,
            }
            for lane in journal.lanes.all()
            for each in journal.exceptions(lane.id)
        ]


def set_held(config: Config, lane: str, *, held: bool) -> Iterator[str]:
    """Hold or release lanes by name, id or ``all``; give a line for each. Raises LookupError."""
    with _journal(config) as journal:
        lanes = [] if journal is None else list(journal.lanes.all())
        chosen = [each for each in lanes if lane in ("all", each.name, each.id)]
        if journal is None or not chosen:
            known = ", ".join(each.name for each in lanes) or "none"
            raise LookupError(f"no lane {lane!r} here; there are: {known}")
        for each in chosen:
            journal.lanes.set_held(each.id, held)
        waiting = agent_running(config)
        deadline = time.monotonic() + HOLD_SECONDS
        for each in chosen:
            while waiting and each.assigned and time.monotonic() < deadline:
                if (journal.lanes.get(each.id).condition == "held") == held:
                    break
                time.sleep(0.05)
            late = (
                waiting
                and each.assigned
                and (journal.lanes.get(each.id).condition == "held") != held
            )
            word = "held" if held else "released"
            yield f"{each.name} {word}" + (": the agent has not noticed it yet" if late else "")
