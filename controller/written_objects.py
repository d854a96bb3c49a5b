"""The objects of a change as they are written: what each was, and what its daemon goes through.

Pure.
"""

from hashlib import sha256

import attrs

from controller.change_plan import Action
from templates.objects import Disturbance, ObjectKind, SpecError, decode_spec, undisturbed


@attrs.frozen
class Wanted:
    """What a command wants of an object; ``spec`` None: that it is gone."""

    kind: ObjectKind
    spec: bytes | None
    requires: tuple[tuple[str, str], ...]
    secrets: tuple[int, ...]
    owner_id: int | None


@attrs.frozen
class Standing:
    """An object before the change: its digest, and what it is if its daemon might be disturbed."""

    digest: bytes | None
    spec: bytes | None

    def is_as(self, spec: bytes | None) -> bool:
        """Tell whether the object is what it would become."""
        return self.digest == (None if spec is None else sha256(spec).digest())


@attrs.frozen
class Written:
    """An object with its revision, as it is written, and how it stood before."""

    logical_server: str
    key: str
    revision: int
    wanted: Wanted
    before: Standing

    @property
    def action(self) -> Action:
        """Whether the object comes, changes or goes."""
        return action_of(self.before.digest, self.wanted.spec)

    @property
    def disturbs(self) -> Disturbance:
        """What the daemon goes through; what an older release wrote may be anything."""
        kind = self.wanted.kind
        if kind.disturbs is undisturbed:
            return "nothing"
        try:
            before, after = (
                None if data is None else decode_spec(kind, kind.version, data)
                for data in (self.before.spec, self.wanted.spec)
            )
        except SpecError:
            return "reload"
        return kind.disturbs(before, after)


def action_of(before: object | None, after: object | None) -> Action:
    """Say what becomes of a thing that was ``before`` and is ``after``."""
    if before is None:
        return "add"
    return "change" if after is not None else "remove"
