"""Applying a unified diff to a text, strictly: a line that does not fit fails."""

from collections.abc import Sequence

NO_END = "\n\\ No newline at end of file"


def patched(text: str, lines: Sequence[str]) -> str:
    """Give ``text`` with the diff ``lines`` applied; without lines it stays as it is."""
    have = _lines(text)
    made: list[str] = []
    at = 0
    for line in _joined(lines[2:]):
        if line.startswith("@@"):
            place, _, count = line.split()[1].removeprefix("-").partition(",")
            begin = int(place) - (count != "0")
            made += have[at:begin]
            at = begin
            continue
        if line[0] in " -":
            assert have[at] == line[1:], (at, have[at], line)
            at += 1
        if line[0] in " +":
            made.append(line[1:])
    whole = [*made, *have[at:]]
    return "".join(each.removesuffix(NO_END) if NO_END in each else f"{each}\n" for each in whole)


def _lines(text: str) -> list[str]:
    *lines, last = text.split("\n")
    return [*lines, last + NO_END] if last else lines


def _joined(lines: Sequence[str]) -> list[str]:
    joined: list[str] = []
    for line in lines:
        if line.startswith("\\"):
            joined[-1] += f"\n{line}"
        else:
            joined.append(line)
    return joined
