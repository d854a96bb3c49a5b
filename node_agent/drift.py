"""Deciding about files that are not as the agent wrote them: what is wrong, and how fast to look.

Pure. What somebody else did to a file is called *drift*; what becomes of it is the lane's policy.
"""

from collections.abc import Iterator, Sequence

from node_agent.box.interface import Look
from node_agent.records import WrittenFile
from node_agent.wire.codec import printable
from node_agent.wire.messages import LONGEST_PATH, DriftFinding, DriftKind

PAGE_FILES, PAGE_BYTES = 32, 256 * 1024
"""Files of one look, and bytes from which on it ends: a change waits for no more than one look."""
SHORTEST_PAUSE = 0.05
"""Seconds between two looks on the timer: at most 640 files and about 5 MiB a second, but for files
that are larger than that by themselves."""


def finding_of(written: WrittenFile, look: Look, owner: str) -> DriftFinding | None:
    """Compare a file with how it was left; None where it is as it should be.

    ``owner`` is who must own it. The weightiest difference names the finding, the words tell all.
    """
    found = list(_differences(written, look, owner))
    if not found:
        return None
    words = "; ".join(words for _, words in found)
    return DriftFinding(written.path, found[0][0], printable(words, LONGEST_PATH))


def _differences(written: WrittenFile, look: Look, owner: str) -> Iterator[tuple[DriftKind, str]]:
    file = written.looks.startswith("file")
    if look.looks == "absent":
        yield "missing", "it is gone"
        return
    if look.looks.partition(" ")[0] != written.looks.partition(" ")[0]:
        yield "kind", f"{_noun(look.looks)} stands where {_noun(written.looks)} was written"
        return
    if look.looks != written.looks:
        yield "changed", "its content was changed" if file else f"{_noun(look.looks)} stands there"
    if file and look.mode != written.mode:
        yield "mode", f"its mode is {look.mode:04o}, not {written.mode:04o}"
    if file and look.owner != owner:
        yield "owner", f"its owner is {look.owner}, not {owner}"


def _noun(looks: str) -> str:
    kind, _, rest = looks.partition(" ")
    nouns = {"file": "a file", "directory": "a directory", "other": "something else"}
    return nouns.get(kind, f"a link to {rest}")


def page_of(files: Sequence[WrittenFile]) -> Sequence[WrittenFile]:
    """Give the first of ``files`` that one look takes: at least one, few, and not much to read."""
    size = 0
    for count, each in enumerate(files[:PAGE_FILES], 1):
        size += each.size
        if size >= PAGE_BYTES:
            return files[:count]
    return files[:PAGE_FILES]


def pause(seconds: float, files: int, looked_at: int, jitter: float) -> float:
    """Give the rest after a look at some of ``files``, so that all take about ``seconds``.

    ``jitter`` is from 0.5 to 1.5: boxes that started together do not read together.
    """
    share = seconds * looked_at / max(files, 1)
    return max(share * jitter, SHORTEST_PAUSE)
