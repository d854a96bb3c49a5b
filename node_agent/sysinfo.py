"""System information of the box, for the operator's eyes. Bounded in size."""

import os
import platform
import socket
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import attrs
import psutil

from node_agent.identity import boot_id

T = TypeVar("T")

MOST = 64
"""Entries of one list (disks, interfaces, addresses of one, lanes), at most."""
LONGEST = 200
"""Characters of one text, at most."""


@attrs.frozen
class LaneFacts:
    """What is told of a lane's daemon."""

    lane: str
    name: str
    service_type: str
    condition: str
    running: bool


def sample(lanes: Sequence[LaneFacts]) -> dict[str, object]:
    """Look at the box. Blocks for some milliseconds."""
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    load = os.getloadavg()
    # Of Python's `platform`, some functions run programs that they find on the PATH (S12).
    system = os.uname()
    return {
        "host": _text(socket.gethostname()),
        "os": _os_name(),
        "kernel": _text(f"{system.sysname} {system.release} {system.machine}"),
        "boot_id": boot_id(),
        "uptime": int(time.time() - psutil.boot_time()),
        "cpu": {
            "count": psutil.cpu_count() or 1,
            "model": _cpu_model(),
            "percent": psutil.cpu_percent(interval=None),
            "load": [round(each, 2) for each in load],
        },
        "memory": {
            "total": memory.total,
            "available": memory.available,
            "swap_total": swap.total,
            "swap_used": swap.used,
        },
        "disks": _disks(),
        "interfaces": _interfaces(),
        "services": [attrs.asdict(each) for each in lanes[:MOST]],
    }


def _text(value: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in value[:LONGEST])


def _os_name() -> str:
    try:
        return _text(platform.freedesktop_os_release().get("PRETTY_NAME", os.uname().sysname))
    except OSError:
        return _text(f"{os.uname().sysname} {os.uname().release}")


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return _text(os.uname().machine)
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return _text(next(named, os.uname().machine))


def _disks() -> list[dict[str, object]]:
    """Tell of each file system once, at its shortest path.

    A unit's own view of the box, and a container, have folders and files of one bound elsewhere.
    """
    longest_first = sorted(
        psutil.disk_partitions(all=False), key=lambda part: len(part.mountpoint), reverse=True
    )
    parts = {part.device: part for part in longest_first}
    disks: list[dict[str, object]] = []
    for part in _first(sorted(parts.values(), key=lambda part: part.mountpoint)):
        try:
            usage = psutil.disk_usage(part.mountpoint)
        except OSError:
            continue
        disks.append(
            {
                "mount": _text(part.mountpoint),
                "device": _text(part.device),
                "type": _text(part.fstype),
                "total": usage.total,
                "free": usage.free,
            }
        )
    return disks


def _interfaces() -> list[dict[str, object]]:
    states = psutil.net_if_stats()
    return [
        {
            "name": _text(name),
            # An address may carry a label of its own (lo:web): it is as up as its interface.
            "up": (base := name.partition(":")[0]) in states and states[base].isup,
            "addresses": [
                {
                    "address": _text(each.address.partition("%")[0]),
                    "mask": _text(each.netmask or ""),
                }
                for each in _first(addresses)
                if each.family in (socket.AF_INET, socket.AF_INET6)
            ],
            "mac": next(
                (_text(each.address) for each in addresses if each.family == psutil.AF_LINK), ""
            ),
        }
        for name, addresses in _first(sorted(psutil.net_if_addrs().items()))
    ]


def _first(items: Iterable[T]) -> list[T]:
    return list(items)[:MOST]
