"""The examples of a service type: objects in, files and effects out, one JSON file each.

``templates/TYPE/examples/NAME.json`` holds::

    about      what the example shows
    context    of `LaneContext`: root, daemon_user, modules, control_secret (all optional)
    server     the specification of the object ``server``
    unit       name of the render unit
    before     [{kind, key, spec}, ...]
    after      [{kind, key, spec}, ...]
    plan       what planning gives; files as lines, what is empty or default left out
    refused    or: the words with which planning refuses

With HELIOSPHERE_WRITE_EXAMPLES=1 in the environment the suite writes ``plan`` and ``refused`` anew;
the difference is then for a person to judge.
"""

import json
import os
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Any

import attrs
import msgspec

from templates.effects import Effect, UnitPlan, WriteFile
from templates.objects import ObjectId
from templates.registry import SERVICE_TYPES
from templates.service_type import (
    SERVER_ID,
    LaneContext,
    PlanRefusedError,
    ServiceType,
    Unit,
)

WRITE = os.environ.get("HELIOSPHERE_WRITE_EXAMPLES") == "1"


@attrs.frozen
class Example:
    service_type: ServiceType
    path: Path
    data: dict[str, Any] = attrs.field(repr=False)

    @property
    def context(self) -> LaneContext:
        given = self.data.get("context", {})
        modules = given.get("modules")
        return LaneContext(
            lane="example",
            server=self._spec(SERVER_ID.kind, self.data["server"]),
            root=PurePosixPath(given.get("root", "/var/lib/heliosphere/lservers/example")),
            daemon_user=given.get("daemon_user"),
            modules=None if modules is None else PurePosixPath(modules),
            control_secret=given.get("control_secret", ""),
        )

    @property
    def before(self) -> Unit:
        return self._unit("before")

    @property
    def after(self) -> Unit:
        return self._unit("after")

    def plan(self) -> UnitPlan:
        plan = self.service_type.plan(self.context, self.before, self.after)
        self.service_type.check_succession(self.before, self.after)
        return plan

    def outcome(self) -> dict[str, Any]:
        try:
            return {"plan": described(self.plan())}
        except PlanRefusedError as error:
            return {"refused": str(error)}

    def write(self, outcome: dict[str, Any]) -> None:
        kept = {name: self.data[name] for name in self.data if name not in ("plan", "refused")}
        text = json.dumps({**kept, **outcome}, indent=1, ensure_ascii=True)
        self.path.write_text(text + "\n")

    def _unit(self, side: str) -> Unit:
        return Unit(
            self.data["unit"],
            {
                ObjectId(item["kind"], item["key"]): self._spec(item["kind"], item["spec"])
                for item in self.data[side]
            },
        )

    def _spec(self, kind: str, data: object) -> Any:
        return msgspec.convert(data, self.service_type.kinds[kind].spec)


def examples() -> list[Example]:
    return [
        Example(service_type, Path(str(path)), json.loads(path.read_text()))
        for service_type in SERVICE_TYPES.values()
        for path in sorted(
            Path(str(files("templates") / service_type.name / "examples")).glob("*.json")
        )
    ]


def described(plan: UnitPlan) -> dict[str, Any]:
    """Write a plan as JSON that a person can read, without what is empty."""
    found: dict[str, Any] = {"unit": plan.unit}
    for field in plan.__struct_fields__[1:]:
        value = getattr(plan, field)
        if isinstance(value, tuple) and value:
            found[field] = [_effect(effect) for effect in value]
        elif value:
            found[field] = value
    return found


def _effect(effect: Effect) -> dict[str, Any]:
    found = {"type": type(effect).__name__}
    for field in effect.__struct_fields__:
        value = getattr(effect, field)
        if isinstance(effect, WriteFile) and field == "content":
            found[field] = value.decode().split("\n")
        elif field == "mode":
            found[field] = f"{value:04o}"
        elif value not in (None, False, ""):
            found[field] = list(value) if isinstance(value, tuple) else value
    return found
