"""P10: five hundred edits on one box in a minute are a few reloads, and every site answers."""

import time
from uuid import uuid4

import pytest

from node_agent.reload_limit import AT_ONCE, SHORTEST
from tests.pains.neighbours import WEB, Neighbours

pytestmark = pytest.mark.timeout(240)

EDITS = 500
REST = 5


def reloads(neighbours: Neighbours) -> int:
    """Count the graceful restarts that Apache itself has noted."""
    log = neighbours.broken.lane_root("web1") / "logs" / "error.log"
    return log.read_text().count("Doing graceful restart")


def test_p10_500_edits_are_a_few_reloads(neighbours: Neighbours) -> None:
    broken = neighbours.broken
    broken.cluster.good("lserver", "set", WEB, f"reload_rest={REST}")
    names = [f"busy{number}.test" for number in range(5)]
    for name in names:
        broken.cluster.good("domain", "add", name, "--account", "acme")
    before, began = reloads(neighbours), time.monotonic()
    for number in range(EDITS):
        answer = broken.api.insist(
            "PATCH",
            f"/domains/{names[number % 5]}/site",
            {"index": [f"page{number}.html", "index.html"]},
            key=str(uuid4()),
        )
        assert answer.status == 200, answer
    assert neighbours.unserved() == []
    assert neighbours.settled()
    rests = (time.monotonic() - began) / (SHORTEST * REST)
    assert 1 <= reloads(neighbours) - before <= AT_ONCE + 1 + rests
    served = [each.read_text() for each in broken.lane_root("web1").rglob("*.conf")]
    for number in range(EDITS - 5, EDITS):
        assert any(f"page{number}.html" in text for text in served)
