"""Directories for tests that are gone when the test process is gone, however it ends.

One sweeper waits for the end of each test process (also a killed one). What then still runs with a
path below one of its directories is ended, what is mounted there is taken off, and they go.
"""

import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import IO

_MEMORY = Path("/dev/shm")
_ENOUGH = 2 * 1024**3
"""Bytes that two PostgreSQL servers of tests, with their logs, never fill."""

_SWEEP = """
set -f
left=
while read -r directory; do left="$left $directory"; done
for signal in INT KILL; do
    for directory in $left; do
        [ -d "$directory" ] || continue
        for pid in $(ls /proc); do
            case $pid in *[!0-9]*) continue ;; esac
            words="$(readlink "/proc/$pid/cwd") $(tr '\\0' ' ' < "/proc/$pid/cmdline")"
            case "$words " in *"$directory/"* | *"$directory "*) kill -$signal "$pid" ;; esac
        done
        waits=yes
    done
    [ -z "$waits" ] || [ $signal = KILL ] || sleep 2
done
while read -r device place rest; do
    for directory in $left; do
        case "$place" in "$directory"/*) umount -l "$place" ;; esac
    done
done < /proc/mounts
for directory in $left; do rm -rf "$directory"; done
"""


def scratch(prefix: str, parent: str | Path = "/tmp") -> Path:
    """Make a directory below ``parent`` (a short path: sockets are made in it), mode 0700."""
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    told = _sweeper()
    told.write(f"{directory}\n".encode())
    told.flush()
    return directory


def in_memory() -> Path:
    """Give the file system on which small files cost least: the machine's memory, if it has room.

    A database made from a template is a thousand small files, of which a test asks no durability.
    """
    try:
        room = os.statvfs(_MEMORY)
    except OSError:
        return Path(tempfile.gettempdir())
    roomy = room.f_bavail * room.f_frsize >= _ENOUGH and os.access(_MEMORY, os.W_OK | os.X_OK)
    return _MEMORY if roomy else Path(tempfile.gettempdir())


@cache
def _sweeper() -> IO[bytes]:
    sweeper = subprocess.Popen(
        ["/bin/sh", "-c", _SWEEP, "sweeper"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    assert sweeper.stdin is not None
    return sweeper.stdin
