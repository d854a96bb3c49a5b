"""Steps that need neither a checker nor a reload: no process is started on a click's path."""

from node_agent.entries import Opened
from node_agent.round import Round


async def quick_steps(work: Round, opened: list[Opened]) -> None:
    """Place files, speak to the daemon, probe: all steps side by side, each with its own fate."""
    if not opened:
        return

    def place() -> dict[int, str]:
        failed = work.entries.stage(opened)
        return failed | work.entries.swap([one for one in opened if one.entry not in failed])

    async def control_and_probe(one: Opened) -> None:
        for effect in one.step.plan.control:
            await work.box.control(effect)
            work.at("controlled")
        await work.probe(one)

    failures = await work.blocking(place)
    placed = [one for one in opened if one.entry not in failures]
    failures |= await work.act(placed, control_and_probe, finish=True)
    work.at("probed")
    failed = [one for one in opened if one.entry in failures]
    if not failed:
        return
    await work.baseline()
    await work.undo(failed)
    for one in failed:
        for half in work.halves(one.step.changes, failures[one.entry]):
            await quick_steps(work, await work.reopen(half))
