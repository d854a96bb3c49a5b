"""Proving the audit: the command ``audit.verify``, a page of the chain at a time."""

import re
from typing import Any

import attrs
from twisted.internet.threads import deferToThread

from controller.commands import Command, Work
from controller.pages import after_text, limit, page
from controller.refusal import CommandError
from controller.storage.anchors import AnchorFile, Notes
from controller.storage.chain import Head, compare_anchors, read_links, verify_links

_CURSOR = re.compile(r"([0-9]{1,18}) ([0-9a-f]{64})")


@attrs.frozen
class VerifyAudit:
    """A page of the chain, from its first change or from ``cursor`` on.

    ``through`` ends it with the change of that number, to compare its hash with a note of one's
    own; 0 for no such end.
    """

    through: int = 0
    limit: int = 1000
    cursor: str = ""


_COUNTS = """
SELECT (SELECT coalesce(max(seq), 0) FROM change), (SELECT count(*) FROM change WHERE seq IS NULL)
"""


@attrs.frozen
class Audit:
    """The command on the audit; ``anchors`` is where this controller notes the chain's head."""

    anchors: AnchorFile | None

    async def verify(self, work: Work, request: VerifyAudit) -> dict[str, Any]:
        """Compute a page's hashes anew, hold them against the notes, name what does not fit."""
        size = limit(request.limit)
        start = _start(request.cursor)
        if request.through > start.seq:
            size = min(size, request.through - start.seq)
        # First the notes: what is noted meanwhile is of changes that are not read yet.
        notes = await self._notes()
        links = await read_links(work.tx, start.seq, size + 1)
        newest, unsealed = await work.tx.row(_COUNTS)
        verified = verify_links(start, links, size)
        is_end = verified.finding is None and len(links) <= size
        finding = verified.finding or compare_anchors(notes.standing, verified, is_end=is_end)
        head = verified.head
        following = None
        if finding is None and not is_end:
            cursor_of = {"cursor": f"{head.seq} {head.hash.hex()}"}
            following = page([cursor_of, {}], 1, lambda item: str(item["cursor"]))["next"]
        last = notes.standing[-1] if notes.standing else None
        return {
            "checked": len(verified.fitting),
            "through": head.seq,
            "hash": head.hash.hex(),
            "newest": newest,
            "unsealed": unsealed,
            "anchors": {
                "count": len(notes.standing),
                "set_aside": len(notes.anchors) - len(notes.standing),
                "unreadable": notes.unreadable,
                "newest": None if last is None else last.seq,
                "newest_at": None if last is None else last.at,
            },
            "finding": None if finding is None else attrs.asdict(finding),
            "next": following,
        }

    async def _notes(self) -> Notes:
        if self.anchors is None:
            return Notes((), 0)
        try:
            notes: Notes = await deferToThread(self.anchors.read)
        except OSError as error:
            raise CommandError(
                "audit.anchors.unreadable",
                "the noted heads of the audit cannot be read",
                value=f"{error.filename}: {error.strerror}",
                allowed="make the file readable for the controller, or compare a copy:"
                " hsctl audit verify --anchors FILE",
                status=409,
            ) from error
        return notes

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the command on the audit."""
        return (
            Command(
                "audit.verify",
                "GET",
                "/audit/verification",
                VerifyAudit,
                "provider.read",
                "Verify the audit's hash chain, a page at a time",
                self.verify,
                description="`finding` names the first thing that is wrong: a change that is"
                " *missing*, that was *altered*, or by the heads noted outside of the database"
                " that the chain was *rewritten* or *truncated*. Go on with `next` until it is"
                " null.",
            ),
        )


def _start(cursor: str) -> Head:
    """Give the verified place that a page starts behind."""
    text = after_text(cursor)
    if not text:
        return Head()
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise CommandError(
            "list.cursor.invalid",
            "not a cursor of this list",
            field="cursor",
            value=cursor,
            allowed="the field next of the page before",
        )
    return Head(int(found[1]), bytes.fromhex(found[2]))
