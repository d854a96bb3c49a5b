"""The agent's log: one line an event, ``word=value`` pairs, nothing that could break a line."""

import logging
import sys
import time
from logging.handlers import RotatingFileHandler
from pathlib import Path

_LOG = logging.getLogger("hs-agent")
LONGEST = 2000
"""Characters of one value, at most."""


def event(name: str, *, level: int = logging.INFO, **words: object) -> None:
    """Log one event; empty values are left out, control characters are escaped (S8)."""
    if _LOG.isEnabledFor(level):
        shown = {word: str(value) for word, value in words.items()}
        pairs = (f"{word}={_shown(value)}" for word, value in shown.items() if value)
        _LOG.log(level, "%s", " ".join((name, *pairs)))


def _shown(text: str) -> str:
    text = text[:LONGEST]
    if text and text.isprintable() and not any(sign in text for sign in ' "='):
        return text
    return ascii(text) if not text.isprintable() else '"' + text.replace('"', "'") + '"'


def set_up(file: Path | None, *, verbose: bool = False) -> None:
    """Log to standard error, or to ``file``, rotated at 10 MiB with five kept."""
    handler: logging.Handler
    if file is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        handler = RotatingFileHandler(file, maxBytes=10 << 20, backupCount=5, encoding="utf-8")
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    if not verbose:
        # Twisted tells of every port that it opens: one for each probe.
        logging.getLogger("twisted").setLevel(logging.WARNING)
