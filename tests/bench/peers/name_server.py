"""A name server for a peer: BIND with many zones, and what a peer needs to change one of them."""

import base64
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from tests.bench.answers import NameServerClient
from tests.daemons import programs
from tests.free_ports import free_port

TEMPLATE = """$TTL 3600
@ IN SOA ns1.{{ zone }}. root.{{ zone }}. {{ serial }} 10800 3600 1209600 3600
@ IN NS ns1.{{ zone }}.
ns1 IN A 192.0.2.1
www IN A 192.0.2.2
"""
"""Jinja, as Salt and Ansible both take it."""


@attrs.frozen
class NameServer:
    """A named with its zones below ``folder``."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes]"

    @classmethod
    def start(cls, folder: Path, count: int) -> "NameServer":
        """Start one that serves ``z0.test`` to ``zCOUNT-1.test``, each with serial 1."""
        zones = folder / "zones"
        zones.mkdir(parents=True)
        for number in range(count):
            zone_file(folder, f"z{number}.test").write_text(rendered(f"z{number}.test", 1))
        port, control = free_port(), free_port()
        key = f'key "rndc-key" {{ algorithm hmac-sha256; secret "{_secret()}"; }};\n'
        (folder / "rndc.conf").write_text(
            f'{key}options {{ default-key "rndc-key"; default-server 127.0.0.1;'
            f" default-port {control}; }};\n"
        )
        stanzas = "".join(
            f'zone "z{n}.test" {{ type master; file "zones/z{n}.test.zone"; }};\n'
            for n in range(count)
        )
        (folder / "named.conf").write_text(
            f"{key}controls {{ inet 127.0.0.1 port {control} allow {{ 127.0.0.1; }}"
            ' keys { "rndc-key"; }; };\n'
            f'options {{ directory "{folder}"; listen-on port {port} {{ 127.0.0.1; }};'
            " listen-on-v6 { none; }; recursion no; notify no; pid-file none;"
            " session-keyfile none; };\n" + stanzas
        )
        process = subprocess.Popen(
            [programs()["named"], "-f", "-c", str(folder / "named.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        server = cls(folder, port, process)
        waiting(server.answers, 60, f"named does not answer: {folder / 'named.conf'}")
        server.until(f"z{count - 1}.test", 1)
        return server

    def answers(self) -> bool:
        """Whether it answers at all; raises RuntimeError once it has ended."""
        if self.process.poll() is not None:
            raise RuntimeError(f"named ended with {self.process.returncode}")
        try:
            self.until("z0.test", 1)
        except ConnectionRefusedError:
            return False
        return True

    @property
    def reload_command(self) -> str:
        """The command that a zone's name is put behind."""
        return f"{shutil.which('rndc') or '/usr/sbin/rndc'} -c {self.folder / 'rndc.conf'} reload"

    def until(self, zone: str, serial: int) -> None:
        """Wait until the zone is answered with this serial or a later one."""
        client = NameServerClient("127.0.0.1", self.port)
        try:
            client.until(zone, serial)
        finally:
            client.close()

    def close(self) -> None:
        self.process.terminate()
        self.process.wait()


def zone_file(folder: Path, zone: str) -> Path:
    """Give where a zone's file is."""
    return folder / "zones" / f"{zone}.zone"


def rendered(zone: str, serial: int) -> str:
    """Give a zone's file as the template comes to."""
    return TEMPLATE.replace("{{ zone }}", zone).replace("{{ serial }}", str(serial))


def _secret() -> str:
    return base64.b64encode(os.urandom(32)).decode()


def waiting(holds: Callable[[], bool], seconds: float, words: str) -> None:
    """Wait until ``holds`` is true; raises RuntimeError with ``words``."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise RuntimeError(words)
        time.sleep(0.1)
