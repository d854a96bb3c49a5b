"""What can be read of processes while they run: their command lines and environments."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

_PAUSE = 0.002


@attrs.define
class ProcessWatch:
    """Reads all the time what processes that have to do with a directory are started with.

    Those are the ones that name it, on the command line or in the environment, and all below them.
    """

    directory: Path
    seen: set[bytes] = attrs.Factory(set)
    """Command lines and environments, words parted by a space."""
    _ours: set[int] = attrs.Factory(set)

    def look(self) -> None:
        """Read every process once."""
        mark = str(self.directory).encode()
        alive = set()
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit():
                continue
            try:
                parent = int((folder / "stat").read_bytes().rpartition(b")")[2].split()[1])
                texts = [(folder / name).read_bytes() for name in ("cmdline", "environ")]
            except OSError:  # it is gone, or not ours to read
                continue
            pid = int(folder.name)
            if parent in self._ours or any(mark in text for text in texts):
                alive.add(pid)
                self.seen.update(text.replace(b"\0", b" ") for text in texts)
        self._ours = alive

    @contextmanager
    def watching(self) -> Iterator["ProcessWatch"]:
        """Look again and again meanwhile."""
        ended = threading.Event()

        def run() -> None:
            while not ended.wait(_PAUSE):
                self.look()

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield self
        finally:
            ended.set()
            thread.join()
