"""Zones and sites of a customer who does nothing wrong: whatever another one does, they serve."""

import attrs
import dns.exception

from tests.faults.cluster_under_fault import Broken, end
from tests.local_cluster import ask, eventually, fetch

NAMES = ("kept1.test", "kept2.test", "own.test")
"""The last one's site has settings of its own."""
WEB = "web1.heliosphere.test"


@attrs.frozen
class Neighbours:
    """The cluster that they are on."""

    broken: Broken
    places: dict[str, tuple[str, int]] = attrs.field(init=False)

    @places.default
    def _places(self) -> dict[str, tuple[str, int]]:
        return self.broken.cluster.places()

    def move_in(self) -> None:
        hsctl = self.broken.cluster.good
        for account in ("quiet", "acme"):
            hsctl("account", "add", account)
        for name in NAMES:
            hsctl("domain", "add", name, "--account", "quiet")
        hsctl("site", "set", NAMES[-1], "--index", "start.html,index.html")

    def unserved(self) -> list[str]:
        """Name what does not answer as it should, now."""
        wrong = []
        for name in NAMES:
            status, page = fetch(self.places["web1"], name)
            if status != 200 or f"<h1>{name}</h1>" not in page:
                wrong.append(f"web1 answers {status} for {name}")
            for server in ("ns1", "ns2"):
                if not ask(self.places[server], name, "SOA"):
                    wrong.append(f"{server} does not answer for {name}")
        return wrong

    def settled(self) -> bool:
        """Tell whether every box has worked all that it was sent."""
        late = """SELECT count(*) FROM lane l JOIN logical_server s ON s.id = l.logical_server_id
                  WHERE l.settled_revision < s.revision"""
        return eventually(lambda: self.broken.rows(late) == [(0,)])

    def cold_restart(self) -> None:
        """Kill every daemon, and see what comes up from the files that stand on the boxes."""
        for box in ("ns1", "ns2", "web1"):
            end(self.broken.daemon(box))

        def serves() -> bool:
            try:
                return not self.unserved()
            except (OSError, dns.exception.Timeout):
                return False

        assert eventually(serves), "the daemons do not come back"
