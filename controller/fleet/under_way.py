"""Changes that live lanes are still waited for: which word of a box is the last of a change."""

from collections import Counter
from collections.abc import Iterable


class UnderWay:
    """Counts, by change, what lanes with a session have yet to tell.

    It only says when to hurry: what is waited for is decided in the database. A change that a lane
    was told of on an earlier session is not known here.
    """

    def __init__(self) -> None:
        self._awaited: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self._awaited)

    def begins(self, change_id: int) -> None:
        """Await one word more of a change."""
        self._awaited[change_id] += 1

    def ends(self, change_ids: Iterable[int]) -> bool:
        """Await one word less of each; tell whether it was the last of one of them."""
        last = False
        for change_id in change_ids:
            left = self._awaited.pop(change_id, 0) - 1
            if left > 0:
                self._awaited[change_id] = left
            last = last or left == 0
        return last
