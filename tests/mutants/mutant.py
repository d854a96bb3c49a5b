"""A guard of the source, what it is replaced with to take it out, the tests that must fail then."""

from pathlib import Path

import attrs


class DoesNotApplyError(Exception):
    """The source has no such guard, or more than one: the registry speaks of another source."""


@attrs.frozen
class Mutant:
    """A guard taken out.

    ``guard`` is a piece of ``file`` as it is written there, and stands in it exactly once;
    ``without`` is put in its place. Each of ``tests`` (pytest's node ids; a function stands for all
    its parameters) must then fail by an assertion, or for want of an expected refusal. ``dies_of``
    names further exceptions by which a test may fail: where what gets past the guard is stopped by
    another lock behind it, in other words than the test expects. ``waits``: without the guard a
    test waits for an end that does not come, until pytest's limit of time ends it.
    """

    name: str
    number: str
    """``S1`` to ``S38`` or ``P1`` to ``P10``: the class of hole, or the pain, it is against."""
    file: str
    guard: str
    without: str
    tests: tuple[str, ...]
    dies_of: tuple[str, ...] = ()
    waits: bool = False

    def applied(self, source: str) -> str:
        """Give the source without the guard; raises `DoesNotApplyError`."""
        times = source.count(self.guard)
        if times != 1:
            raise DoesNotApplyError(f"{self.file} holds the guard {times} times, not once")
        return source.replace(self.guard, self.without)

    def applied_to(self, tree: Path) -> str:
        """Give the source of ``file`` below ``tree`` without the guard."""
        try:
            return self.applied((tree / self.file).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise DoesNotApplyError(f"there is no {self.file}") from None
