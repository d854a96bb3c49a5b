"""The SQL of what boxes say of their files."""

from collections.abc import Sequence

from controller.fleet.words import DriftWord, Said
from controller.storage.database import Transaction


async def write_drift(tx: Transaction, words: Sequence[tuple[Said, DriftWord]]) -> set[str]:
    """Replace what is known of lanes' files; give the names of their boxes.

    What was known before and is found still keeps the time since which it is known.
    """
    if not words:
        return set()
    last = {said.lane: word for said, word in words}
    lanes = ([lane[0] for lane in last], [lane[1] for lane in last])
    await tx.run(
        """UPDATE lane SET files = q.files, drifted = q.total,
                  verified_at = coalesce(now() - make_interval(secs => q.ago), lane.verified_at)
           FROM unnest(%s::uuid[], %s::uuid[], %s::int[], %s::int[], %s::float8[])
                AS q(box, server, files, total, ago)
           WHERE lane.box_id = q.box AND lane.logical_server_id = q.server""",
        (
            *lanes,
            [word.files for word in last.values()],
            [word.total for word in last.values()],
            [word.verified_ago for word in last.values()],
        ),
    )
    found = {(lane, each.path): each for lane, word in last.items() for each in word.findings}
    names = (
        [lane[0] for lane, _ in found],
        [lane[1] for lane, _ in found],
        [path for _, path in found],
    )
    await tx.run(
        """DELETE FROM drift_finding f
           USING unnest(%s::uuid[], %s::uuid[]) AS q(box, server)
           WHERE f.box_id = q.box AND f.logical_server_id = q.server
             AND NOT EXISTS (
                 SELECT FROM unnest(%s::uuid[], %s::uuid[], %s::text[]) AS n(box, server, path)
                 WHERE n.box = f.box_id AND n.server = f.logical_server_id AND n.path = f.path)""",
        (*lanes, *names),
    )
    if found:
        await tx.run(
            """INSERT INTO drift_finding AS f (box_id, logical_server_id, path, what, words)
               SELECT q.* FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::text[])
                    AS q(box, server, path, what, words)
               JOIN lane l ON l.box_id = q.box AND l.logical_server_id = q.server
               ON CONFLICT (box_id, logical_server_id, path) DO UPDATE
               SET what = excluded.what, words = excluded.words
               WHERE (f.what, f.words) IS DISTINCT FROM (excluded.what, excluded.words)""",
            (
                *names,
                [each.what for each in found.values()],
                [each.words for each in found.values()],
            ),
        )
    return {said.box_name for said, _ in words}
