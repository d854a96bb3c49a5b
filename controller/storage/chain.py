"""The hash chain over the sealed changes, as it is written and as it is proven.

Each change's hash is over the former hash, its number and all that it says: who, when, what, and
what every object and row was before and after. So whatever was altered, taken out or put in shows
at the first link that does not follow. What the chain alone cannot show, its end cut off or all of
it written anew, shows by the anchors (`controller.storage.anchors`).
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Literal

import attrs
import msgspec

from controller.storage.anchors import Anchor
from controller.storage.database import Transaction

_FORMAT = 1
_encoder = msgspec.msgpack.Encoder()

# What a change says, in columns named one by one: a column added later must not break old hashes.
CONTENT = """
SELECT c.id, c.seq, c.hash, c.actor, c.on_behalf_of, c.origin, c.command, c.request::text, c.reason,
       (extract(epoch FROM c.at) * 1000000)::bigint,
       (SELECT coalesce(json_agg(json_build_array(o.logical_server_id, o.kind, o.key, o.revision,
                                                  encode(sha256(o.before), 'hex'),
                                                  encode(sha256(o.after), 'hex'))
                                 ORDER BY o.logical_server_id, o.kind, o.key), '[]')::text
        FROM change_object o WHERE o.change_id = c.id),
       (SELECT coalesce(json_agg(json_build_array(r.position, r.relation, r.row_key,
                                                  r.before, r.after)
                                 ORDER BY r.position), '[]')::text
        FROM change_row r WHERE r.change_id = c.id),
       (SELECT coalesce(json_agg(json_build_array(w.logical_server_id, w.zone, w.serial)
                                 ORDER BY w.logical_server_id, w.zone), '[]')::text
        FROM change_watch w WHERE w.change_id = c.id)
FROM change c
"""


@attrs.frozen
class Content:
    """A change as the chain sees it: one row of `CONTENT`."""

    id: int
    seq: int | None
    hash: bytes | None
    words: tuple[Any, ...]

    @classmethod
    def of_row(cls, row: tuple[Any, ...]) -> "Content":
        """Read a row of `CONTENT`."""
        return cls(row[0], row[1], None if row[2] is None else bytes(row[2]), row[3:])

    def linked(self, seq: int, former: bytes) -> bytes:
        """Give the hash of this change at number ``seq`` after ``former``."""
        return sha256(_encoder.encode([_FORMAT, seq, former, self.id, *self.words])).digest()


@attrs.frozen
class Head:
    """A place in the chain: the number of a sealed change and its hash; 0 before the first."""

    seq: int = 0
    hash: bytes = b""


@attrs.frozen
class Finding:
    """The first thing that is wrong: ``kind``, the number and id of the change, and the words.

    *missing*: a number is not there. *altered*: a change does not give the hash it was sealed
    with. *rewritten*: the chain fits in itself, and an anchor says otherwise. *truncated*: an
    anchor knows of changes that are not there any more.
    """

    kind: Literal["missing", "altered", "rewritten", "truncated"]
    seq: int
    id: int | None
    what: str
    expected: str
    found: str


@attrs.frozen
class Verified:
    """What `verify_links` found on a page: what fits and how far, and what does not."""

    head: Head
    fitting: tuple[Head, ...]
    finding: Finding | None


async def head_of(tx: Transaction) -> Head:
    """Give the newest sealed change."""
    row = await tx.maybe(
        "SELECT seq, hash FROM change WHERE seq IS NOT NULL ORDER BY seq DESC LIMIT 1"
    )
    return Head() if row is None else Head(row[0], bytes(row[1]))


async def read_links(tx: Transaction, after: int, size: int) -> list[Content]:
    """Read up to ``size`` sealed changes behind the number ``after``, in their order."""
    if after:
        rows = await tx.rows(CONTENT + "WHERE c.seq > %s ORDER BY c.seq LIMIT %s", (after, size))
    else:
        # Nothing was ever sealed with a number below 1: what pretends to be comes first.
        rows = await tx.rows(CONTENT + "WHERE c.seq IS NOT NULL ORDER BY c.seq LIMIT %s", (size,))
    return [Content.of_row(row) for row in rows]


def verify_links(start: Head, links: Sequence[Content], size: int) -> Verified:
    """Compute the hashes of ``size`` links anew from ``start`` on; stop at one that does not fit.

    One link more than ``size`` helps to tell what is wrong with the last.
    """
    fitting: list[Head] = []
    head = start
    for place, link in enumerate(links[:size]):
        seq = head.seq + 1
        if link.seq != seq:
            return Verified(head, tuple(fitting), _missing(head, link))
        expected = link.linked(seq, head.hash)
        if link.hash != expected:
            following = links[place + 1] if place + 1 < len(links) else None
            return Verified(head, tuple(fitting), _altered(seq, link, expected, following))
        head = Head(seq, expected)
        fitting.append(head)
    return Verified(head, tuple(fitting), None)


def _missing(head: Head, link: Content) -> Finding:
    last = (link.seq or 0) - 1
    which = f"change {last}" if last == head.seq + 1 else f"changes {head.seq + 1} to {last}"
    return Finding(
        "missing",
        head.seq + 1,
        None,
        f"{which} removed: after {head.seq} comes {link.seq} (id {link.id})",
        str(head.seq + 1),
        str(link.seq),
    )


def _altered(seq: int, link: Content, expected: bytes, following: Content | None) -> Finding:
    kept = link.hash or b""
    if following is not None and following.hash == following.linked(seq + 1, kept):
        what = (
            f"what change {seq} (id {link.id}) says, or the changes before it, is not what was"
            " sealed: the changes after it still follow from the hash it was sealed with"
        )
    else:
        what = (
            f"change {seq} (id {link.id}) does not give its hash, and the next change does not"
            " follow from that hash either: it was sealed anew, or is the newest"
        )
    return Finding("altered", seq, link.id, what, expected.hex(), kept.hex())


def compare_anchors(anchors: Sequence[Anchor], page: Verified, *, is_end: bool) -> Finding | None:
    """Hold the standing ``anchors`` against a page that fits in itself.

    ``is_end`` says that the chain ends with it. The anchors of earlier pages were compared there.
    """
    head = page.head
    hashes = {one.seq: one.hash.hex() for one in page.fitting}
    start = head.seq - len(page.fitting)
    fitting = max((one.seq for one in anchors if one.seq <= start), default=0)
    for anchor in sorted(anchors, key=lambda one: one.seq):
        if anchor.seq in hashes:
            if hashes[anchor.seq] != anchor.hash:
                return Finding(
                    "rewritten",
                    anchor.seq,
                    None,
                    f"the chain was written anew: change {anchor.seq} had another hash at"
                    f" {anchor.at}; what was altered is between {fitting + 1} and {anchor.seq}",
                    anchor.hash,
                    hashes[anchor.seq],
                )
            fitting = anchor.seq
    newest = max(anchors, key=lambda one: one.seq, default=None)
    if is_end and newest is not None and newest.seq > head.seq:
        return Finding(
            "truncated",
            head.seq + 1,
            None,
            f"changes {head.seq + 1} to {newest.seq} at least were removed: change {newest.seq}"
            f" was there at {newest.at}, and the chain ends with {head.seq}",
            str(newest.seq),
            str(head.seq),
        )
    return None
