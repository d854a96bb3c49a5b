"""The limit of this machine: what one change must cost, done by hand in a loop.

Every durable write that the protocol needs and no more, then one command over a kept control
connection and one transfer (docs/adr/0010-limit.md). Nothing of the product's code: blocking
sockets, psycopg2, sqlite3. It runs beside the product, on the same database server, the same name
servers and the same disk, with zones of its own.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import psycopg2
from psycopg2 import extensions

from tests.bench.answers import NameServerClient, WebClient
from tests.bench.cluster import Bench, NameServer
from tests.bench.durable import ROW, Journal, write_file, zone_text
from tests.bench.figures import median, ms
from tests.bench.rndc import Rndc


@attrs.define
class Stages:
    """Where the limit's time goes: seconds by stage, for the table."""

    names: list[str] = attrs.field(factory=list)
    seconds: dict[str, list[float]] = attrs.field(factory=dict)

    def add(self, name: str, since: float) -> float:
        now = time.perf_counter()
        self.seconds.setdefault(name, []).append(now - since)
        return now

    def medians(self) -> str:
        """Say the median of each stage."""
        return ", ".join(f"{name} {ms(median(each))}" for name, each in self.seconds.items())


class Limit:
    """The hand-made change, for the bench's cluster."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._folder = bench.master.root / "zones"
        self._vhosts = bench.web.root
        state = bench.layout.root.parent / "limit"
        state.mkdir()
        self._journals = [Journal(state / f"{name}.sqlite") for name in ("ns1", "ns2", "web1")]
        self._database: extensions.connection = psycopg2.connect(bench.database_url)
        self._database.autocommit = True
        with self._database.cursor() as cursor:
            cursor.execute("CREATE TABLE bench_limit (id bigserial PRIMARY KEY, body text)")
        self._control = [_control(server) for server in (bench.master, bench.secondary)]
        self._clients = [_client(server) for server in (bench.master, bench.secondary)]
        self._site = WebClient(bench.web.address, bench.web.port)
        self._pool = ThreadPoolExecutor(3)
        self._serial = int(time.time())
        self.stages = Stages()

    @property
    def serial(self) -> int:
        """The serial of the zone that was changed or added last."""
        return self._serial

    def path(self, zone: str) -> Path:
        """Give where the master reads a zone of the limit."""
        return self._folder / f"limit-{zone}.zone"

    def close(self) -> None:
        self._pool.shutdown()
        self._site.close()
        self._database.close()
        for each in (self._journals, self._control, self._clients):
            for part in each:
                part.close()

    def record_change(self, zone: str) -> float:
        """Change a zone and wait for both name servers; give the seconds."""
        text = self._zone_text(zone)
        begin = at = time.perf_counter()
        self._commit()
        at = self.stages.add("PostgreSQL commit", at)
        self._journals[0].write()
        at = self.stages.add("journal commit", at)
        write_file(self.path(zone), text)
        at = self.stages.add("zone file", at)
        self._control[0].command(f"reload {zone}")
        at = self.stages.add("reload", at)
        self._answered(zone)
        self.stages.add("both answer", at)
        return time.perf_counter() - begin

    def new_domain(self, zone: str) -> float:
        """Add a zone to both name servers and a site to the web server; give the seconds.

        The three boxes write side by side, as three boxes do.
        """
        text = self._zone_text(zone)
        begin = time.perf_counter()
        self._commit()
        durable = [
            self._pool.submit(self._master_writes, zone, text),
            self._pool.submit(self._journals[1].write),
            self._pool.submit(self._site_writes, zone),
        ]
        for writing in durable:
            writing.result()
        self._control[0].command(f"addzone {zone} {{ {self._master_configuration(zone)} }};")
        self._control[1].command(f"addzone {zone} {{ {self._secondary_configuration(zone)} }};")
        self._answered(zone)
        self._site.until(zone)
        return time.perf_counter() - begin

    def batch(self, count: int) -> float:
        """Add many zones to both name servers in a bare loop each, side by side; give the seconds.

        Each zone is a file, synced, and a command to the master, and a command to the secondary.
        They are taken away again afterwards.
        """
        zones = [f"limit-batch{number}.test" for number in range(count)]
        text = self._zone_text(zones[0])
        begin = time.perf_counter()
        loops = (
            self._pool.submit(self._add_to_master, zones, text),
            self._pool.submit(self._add_to_secondary, zones),
        )
        for loop in loops:
            loop.result()
        took = time.perf_counter() - begin
        for control in self._control:
            for zone in zones:
                control.command(f"delzone -clean {zone}")
        return took

    def _add_to_master(self, zones: Sequence[str], text: str) -> None:
        for zone in zones:
            write_file(self.path(zone), text.replace(zones[0], zone))
            self._control[0].command(f"addzone {zone} {{ {self._master_configuration(zone)} }};")

    def _add_to_secondary(self, zones: Sequence[str]) -> None:
        for zone in zones:
            self._control[1].command(f"addzone {zone} {{ {self._secondary_configuration(zone)} }};")

    def _commit(self) -> None:
        with self._database.cursor() as cursor:
            cursor.execute("INSERT INTO bench_limit (body) VALUES (%s)", (ROW,))

    def _master_writes(self, zone: str, text: str) -> None:
        self._journals[0].write()
        write_file(self.path(zone), text)

    def _site_writes(self, zone: str) -> None:
        self._journals[2].write()
        folder = self._vhosts / "sites" / f"limit-{zone}" / "htdocs"
        folder.mkdir(parents=True)
        write_file(folder / "index.html", f"<p>{zone}</p>")
        (self._vhosts / "vhosts" / zone).symlink_to(f"../sites/limit-{zone}/htdocs")

    def _answered(self, zone: str) -> None:
        for client in self._clients:
            client.until(zone, self._serial)

    def _zone_text(self, zone: str) -> str:
        self._serial += 1
        return zone_text(zone, self._serial)

    def _master_configuration(self, zone: str) -> str:
        peer, key = self._bench.secondary, self._bench.transfer_key
        return (
            f'type master; file "{self.path(zone)}"; notify explicit; notify-delay 0; '
            f'also-notify {{ {peer.address} port {peer.port} key "{key}"; }}; '
            f'allow-transfer {{ key "{key}"; }};'
        )

    def _secondary_configuration(self, zone: str) -> str:
        peer, key = self._bench.master, self._bench.transfer_key
        file = self._bench.secondary.root / "state" / "secondary" / f"limit-{zone}"
        return (
            f'type slave; masters {{ {peer.address} port {peer.port} key "{key}"; }}; '
            f'file "{file}"; notify no; allow-notify {{ key "{key}"; }};'
        )


def _control(server: NameServer) -> Rndc:
    return Rndc("127.0.0.1", server.control_port, server.control_secret)


def _client(server: NameServer) -> NameServerClient:
    return NameServerClient(server.address, server.port)
