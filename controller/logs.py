"""The controller's log: one line for each event, in a file that rotates or on standard error.

What came from outside is escaped, so that no text can look like a line of ours (S8); the lines of a
traceback are indented below its event.
"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
    globalLogBeginner,
)
from twisted.python.logfile import LogFile
from zope.interface import implementer

from controller.printable import clean

_NOISY = ("twisted.internet", "twisted.web.server", "txpostgres")


@implementer(ILogObserver)
class LineObserver:
    """Writes events to ``file``."""

    def __init__(self, file: IO[str] | LogFile) -> None:
        self._file: Any = file

    def __call__(self, event: LogEvent) -> None:
        """Write one event."""
        self._file.write(line(event))
        self._file.flush()


def line(event: LogEvent) -> str:
    """Give the text of an event: time (UTC), level, source, message."""
    moment = datetime.fromtimestamp(event.get("log_time", 0.0), UTC)
    level = event.get("log_level") or LogLevel.info
    source = str(event.get("log_namespace", "-"))
    text = (
        f"{moment.isoformat(timespec='milliseconds')} {level.name} {source} "
        f"{clean(formatEvent(event))}\n"
    )
    failure = event.get("log_failure")
    if failure is not None:
        lines = failure.getTraceback().splitlines()
        text += "".join(f"    {clean(part)}\n" for part in lines)
    return text


def start(path: Path | None, *, bytes_kept: int, files_kept: int) -> None:
    """Begin to log to ``path`` (0600, rotated at ``bytes_kept``), or to standard error."""
    file: IO[str] | LogFile = sys.stderr
    if path is not None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = LogFile(  # type: ignore[no-untyped-call]
            path.name,
            str(path.parent),
            rotateLength=bytes_kept,
            defaultMode=0o600,
            maxRotatedFiles=files_kept,
        )
    quiet = LogLevelFilterPredicate(LogLevel.info)
    for namespace in _NOISY:
        quiet.setLogLevelForNamespace(namespace, LogLevel.warn)
    observer = FilteringLogObserver(LineObserver(file), [quiet])
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
