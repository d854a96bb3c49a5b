"""Steps that need neither a checker nor a reload: no process is started on a click's path."""

from collections.abc import Sequence
from functools import partial

from node_agent.entries import Opened
from node_agent.round import Round


def place(work: Round, opened: Sequence[Opened]) -> dict[int, str]:
    """Put the files of all steps in place; give the entries refused, with the words. Blocks."""
    if not opened:
        return {}
    failures = work.entries.stage(opened)
    return failures | work.entries.swap([one for one in opened if one.entry not in failures])


async def quick_steps(work: Round, opened: Sequence[Opened], failures: dict[int, str]) -> None:
    """Speak to the daemon and probe, after `place`: side by side, each step with its own fate."""
    if not opened:
        return

    async def control_and_probe(one: Opened) -> None:
        for effect in one.step.plan.control:
            await work.box.control(effect)
            work.at("controlled")
        await work.probe(one)

    placed = [one for one in opened if one.entry not in failures]
    failures = failures | await work.act(placed, control_and_probe, finish=True)
    work.at("probed")
    failed = [one for one in opened if one.entry in failures]
    if not failed:
        return
    await work.baseline()
    await work.undo(failed)
    for one in failed:
        for half in work.halves(one.step.changes, failures[one.entry]):
            again = await work.reopen(half)
            await quick_steps(work, again, await work.blocking(partial(place, work, again)))
