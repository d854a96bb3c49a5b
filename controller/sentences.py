"""Parts of a sentence: a number with what it counts, names in a row. Pure."""

from collections.abc import Sequence

NAMED = 4
"""The most names that stand in a sentence; of more, the first three and their number."""


def listed(names: Sequence[str]) -> str:
    """Write names as part of a sentence, the rest of a long list as their number."""
    if len(names) <= NAMED:
        return ", ".join(names)
    shown = names[: NAMED - 1]
    return f"{', '.join(shown)} and {len(names) - len(shown)} more"


def counted(count: int, one: str, many: str) -> str:
    """Write a number with what it counts: ``1 zone changes``, ``214 zones change``."""
    return f"{count} {one if count == 1 else many}"
