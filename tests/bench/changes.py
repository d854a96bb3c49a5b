"""Parts a and b: a record change and a new domain, the limit and the product in turns."""

import itertools
import time

from tests.bench.answers import NameServerClient, WebClient
from tests.bench.cluster import ApiClient, Bench
from tests.bench.figures import Times
from tests.bench.limit import Limit

ACCOUNT = "bench"
REST = 0.03
"""Seconds between two turns, so that neither pays for what the other left to be written."""
_numbers = itertools.count(1)


class Product:
    """The product from outside: its API, then its servers' answers."""

    def __init__(self, bench: Bench) -> None:
        self._api: ApiClient = bench.client()
        self._clients = [
            NameServerClient(server.address, server.port)
            for server in (bench.master, bench.secondary)
        ]
        self._site = WebClient(bench.web.address, bench.web.port)
        self._api.ask("POST", "/accounts", {"name": ACCOUNT})

    def close(self) -> None:
        self._api.close()
        self._site.close()
        for client in self._clients:
            client.close()

    def record_change(self, zone: str) -> float:
        """Set a record over the API and wait for both name servers; give the seconds."""
        value = f"192.0.2.{next(_numbers) % 250 + 1}"
        begin = time.perf_counter()
        answer = self._api.ask(
            "PUT",
            f"/domains/{zone}/records",
            {"name": "changed", "type": "A", "values": [value]},
        )
        self._answered(zone, answer["result"]["serial"])
        return time.perf_counter() - begin

    def new_domain(self, zone: str) -> float:
        """Add a domain over the API and wait for all three servers; give the seconds."""
        begin = time.perf_counter()
        answer = self._api.ask("POST", "/domains", {"name": zone, "account": ACCOUNT})
        self._answered(zone, answer["result"]["serial"])
        self._site.until(zone)
        return time.perf_counter() - begin

    def settled(self) -> None:
        """Wait until every change is live on every lane, and a little for what is written after."""
        newest = self._api.ask("GET", "/changes?limit=1")["items"][0]["id"]
        while True:
            answer = self._api.ask("GET", f"/changes/{newest}?wait=30")
            if answer["state"] != "pending":
                break
        time.sleep(REST)

    def _answered(self, zone: str, serial: int) -> None:
        for client in self._clients:
            client.until(zone, serial)


def new_domains(limit: Limit, product: Product, count: int) -> Times:
    """Part b. Waits between two turns until all has come to rest, so that each is one click."""
    times = Times()
    for number in range(count):
        times.limit.append(limit.new_domain(f"limit{number}.test"))
        time.sleep(REST)
        times.product.append(product.new_domain(f"domain{number}.test"))
        product.settled()
    return times


def record_changes(limit: Limit, product: Product, count: int) -> Times:
    """Part a, on the first of the domains of part b."""
    times = Times()
    for _ in range(count):
        times.limit.append(limit.record_change("limit0.test"))
        time.sleep(REST)
        times.product.append(product.record_change("domain0.test"))
        product.settled()
    return times
