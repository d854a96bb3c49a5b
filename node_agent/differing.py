"""The difference between what the agent would write and what stands there, fit to be shown. Pure.

Keys and passwords never leave the box: the same secret has the same number on both sides, so that
it is still seen whether it was changed.
"""

import re
from difflib import unified_diff
from itertools import chain, islice

import attrs

from node_agent.wire.codec import printable
from node_agent.wire.questions import MOST_DIFFERENCES, Difference

MOST_BYTES, MOST_LINES = 256 * 1024, 5000
"""Larger files are not compared line by line."""
LONGEST_LINE = 2000
_MOST_SEEN = MOST_DIFFERENCES + 1
_NO_END = "\n\\ No newline at end of file"
"""What stands below a last line that has no end, as `diff` and `patch` have it."""

_SECRETS = re.compile(
    r"(?P<block>-----BEGIN [^\n-]*PRIVATE KEY-----.*?(?:-----END [^\n-]*PRIVATE KEY-----|\Z)"
    r"|^(?:[A-Za-z0-9+/=]{40,}\n){2,})"
    r"|(?P<name>(?:secret|password|passwd|passphrase)[\w-]{0,40}[\"']?(?:\s*[=:]\s*|\s+|(?=[\"'])))"
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


@attrs.frozen
class Compared:
    """The lines of a unified diff; ``why`` says why there are none, ``cut`` that there are more."""

    lines: tuple[str, ...] = ()
    why: str = ""
    cut: bool = False


def compared(there: bytes, wanted: bytes, names: tuple[str, str]) -> Compared:
    """Compare two contents line by line, secrets taken out; ``names`` stand above the two sides.

    The lines are those of the files to the byte, tabs and a missing last line end included; one
    that cannot be shown as it is has other characters in its place, and the rest is ``cut``.
    """
    if len(there) > MOST_BYTES or len(wanted) > MOST_BYTES:
        return Compared(why="too large to be compared line by line")
    try:
        texts = there.decode(), wanted.decode()
    except UnicodeDecodeError:
        return Compared(why="not text: its content is not shown")
    if any("\0" in text for text in texts):
        return Compared(why="not text: its content is not shown")
    redact = Redaction()
    want = _lines(redact(texts[1]))
    have = _lines(redact(texts[0]))
    if max(len(want), len(have)) > MOST_LINES:
        return Compared(why="too many lines to be compared")
    found = unified_diff(have, want, *names, lineterm="")
    lines = list(islice(chain.from_iterable(each.split("\n") for each in found), _MOST_SEEN))
    shown = tuple(map(shown_line, lines[:MOST_DIFFERENCES]))
    return Compared(shown, cut=len(lines) > MOST_DIFFERENCES or list(shown) != lines)


def difference(path: str, there: bytes, wanted: bytes, words: str) -> Difference:
    """Compare what stands at ``path`` with what would be written; ``words`` are told in any case.

    What would be written is the ``+`` side: it is what a repair does.
    """
    found = compared(there, wanted, ("on the box", "as written by Heliosphere"))
    said = "; ".join(part for part in (words, found.why) if part)
    return Difference(path=path, words=said, lines=found.lines, cut=found.cut)


def shown_line(line: str) -> str:
    """Give a line of a file without control characters but tabs, and no longer than is shown."""
    return "\t".join(printable(part, LONGEST_LINE) for part in line[: LONGEST_LINE + 1].split("\t"))


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    last = lines.pop()
    return [*lines, f"{last}{_NO_END}"] if last else lines
