"""The difference between what the agent would write and what stands there, fit to be shown. Pure.

Keys and passwords never leave the box: the same secret has the same number on both sides, so that
it is still seen whether it was changed.
"""

import re
from collections.abc import Iterable
from difflib import unified_diff
from itertools import islice

from node_agent.wire.codec import printable
from node_agent.wire.questions import MOST_DIFFERENCES, Difference

MOST_BYTES, MOST_LINES = 256 * 1024, 5000
"""Larger files are not compared line by line."""
LONGEST_LINE = 500

_SECRETS = re.compile(
    r"(?P<block>-----BEGIN [^\n-]*PRIVATE KEY-----.*?(?:-----END [^\n-]*PRIVATE KEY-----|\Z)"
    r"|^(?:[A-Za-z0-9+/=]{40,}\n){2,})"
    r"|(?P<name>\b\w*(?:secret|password|passwd|passphrase)\w*\"?\s*[=:]?\s*)"
    r"(?P<value>\"[^\"]*\"|'[^']*'|[^\s;{}\"']+)",
    re.DOTALL | re.MULTILINE | re.IGNORECASE,
)


class Redaction:
    """Takes secrets out of texts; one for both sides of a comparison."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, text: str) -> str:
        """Give the text with a number in place of each secret."""
        return _SECRETS.sub(self._replace, text)

    def _replace(self, match: re.Match[str]) -> str:
        secret = match["block"] or match["value"].strip("\"'")
        number = self._numbers.setdefault(secret, len(self._numbers) + 1)
        if match["block"]:
            return f"[key {number}]\n"
        return f'{match["name"]}"[secret {number}]"'


def difference(path: str, there: bytes, wanted: bytes, words: str) -> Difference:
    """Compare what stands at ``path`` with what would be written; ``words`` are told in any case.

    What would be written is the ``+`` side: it is what a repair does.
    """
    if len(there) > MOST_BYTES or len(wanted) > MOST_BYTES:
        return _words_only(path, words, "too large to be compared line by line")
    try:
        texts = there.decode(), wanted.decode()
    except UnicodeDecodeError:
        return _words_only(path, words, "not text: its content is not shown")
    if any("\0" in text for text in texts):
        return _words_only(path, words, "not text: its content is not shown")
    redact = Redaction()
    want = redact(texts[1]).splitlines()
    have = redact(texts[0]).splitlines()
    if max(len(want), len(have)) > MOST_LINES:
        return _words_only(path, words, "too many lines to be compared")
    lines = unified_diff(have, want, "on the box", "as written by Heliosphere", lineterm="")
    shown = tuple(_shown(islice(lines, MOST_DIFFERENCES + 1)))
    return Difference(
        path=path,
        words=words,
        lines=shown[:MOST_DIFFERENCES],
        cut=len(shown) > MOST_DIFFERENCES,
    )


def _words_only(path: str, words: str, why: str) -> Difference:
    return Difference(path=path, words=f"{words}; {why}" if words else why, lines=(), cut=False)


def _shown(lines: Iterable[str]) -> Iterable[str]:
    return (printable(line.expandtabs(4), LONGEST_LINE) for line in lines)
