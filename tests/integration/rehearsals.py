"""What boxes are asked in a dry run of a job, beside what the job then does to them."""

from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from controller.change_plan import ChangePlan
from node_agent.wire.questions import AskPreview, Preview
from tests.integration.model import Model

Objects = Mapping[tuple[str, str], Any]
"""Specifications by kind and key."""


@attrs.frozen
class Rehearsal:
    """What was there before, and what boxes were asked about; None: an object goes. By server."""

    before: Mapping[str, Objects]
    told: Mapping[str, Objects]
    plan: ChangePlan

    async def check(self, model: Model) -> None:
        """See that all that has changed by now was told, and that all that was told has come."""
        for server, after in (await _objects(model)).items():
            before, told = self.before[server], self.told.get(server, {})
            changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
            assert changed <= told.keys(), server
            for key, spec in told.items():
                assert spec == after.get(key), (server, key)


async def rehearse(model: Model, command: str, **fields: Any) -> Rehearsal:
    """Run a command dry and have boxes asked; it must write nothing."""
    model.fleet.answering = lambda _: Preview(
        files=(), effects=(), refused=(), pending=0, cut=False
    )
    footprint, before = await model.footprint(), await _objects(model)
    done = await model.run(command, dry_run=True, differences=True, **fields)
    assert await model.footprint() == footprint
    assert done.plan is not None
    names = dict(await model.rows("SELECT id::text, name FROM logical_server"))
    told = {}
    for ask in model.fleet.questions:
        assert isinstance(ask, AskPreview)
        told[names[ask.lane]] = {
            (each.kind, each.key): None if each.spec is None else _lasting(each.spec)
            for each in ask.objects
        }
    model.fleet.questions.clear()
    # The plan names every server that is asked.
    assert all(name in done.plan.words[0] for name in told), done.plan.words
    return Rehearsal(before, told, done.plan)


async def _objects(model: Model) -> dict[str, Objects]:
    found: dict[str, dict[tuple[str, str], Any]] = {
        name: {} for (name,) in await model.rows("SELECT name FROM logical_server")
    }
    for name, kind, key, spec in await model.rows(
        """SELECT s.name, o.kind, o.key, o.spec FROM desired_object o
           JOIN logical_server s ON s.id = o.logical_server_id WHERE NOT o.deleted"""
    ):
        found[name][kind, key] = _lasting(spec)
    return found


def _lasting(spec: bytes) -> Any:
    """Read a specification without what each change draws anew, and keys, which are sealed."""
    read = msgspec.msgpack.decode(spec)
    return {name: value for name, value in read.items() if name not in ("serial", "transfer_key")}
