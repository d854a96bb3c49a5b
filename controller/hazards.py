"""What a change may come to that a person must have seen first: hazards, as data. Pure.

A hazard has an id and a number. A change that meets one is held back until somebody accepts it by
both: an id without its number would accept whatever it has grown to since.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256

import attrs

from controller.fleet.repair import is_mass_delete
from controller.sentences import NAMED, counted, listed


@attrs.frozen
class Removal:
    """Objects that go from a logical server: ``removed`` of the ``held`` that it serves."""

    logical_server: str
    removed: int
    held: int


@attrs.frozen
class Facts:
    """What hazards of a change are judged by. Zones and boxes are named."""

    removals: tuple[Removal, ...] = ()
    redelegated: tuple[str, ...] = ()
    """Zones whose own NS records lose a name."""
    redelegated_later: int = 0
    """Zones of customers whose own NS records a job will change."""
    unserved: tuple[str, ...] = ()
    """Zones that no name server answers afterwards."""
    reloading: tuple[str, ...] = ()
    """Boxes on which a daemon reloads or restarts, all at once."""
    reload_boxes: int = 10
    """So many may."""


@attrs.frozen
class Hazard:
    """One hazard that a change meets: accepted by its ``id`` and ``number``, told by ``words``."""

    id: str
    number: int
    words: str
    digest: str = ""
    """Of all names that are counted, where there are more than ``words`` say."""

    @property
    def accepted(self) -> str:
        """What accepts it, as it is typed."""
        return f"{self.id}={self.number}"


@attrs.frozen
class HazardRule:
    """A kind of hazard.

    ``check`` gives the number, the words and the names in these, or None where there is none.
    """

    id: str
    sources: tuple[str, ...]
    reason: str
    """Why a person must have seen it, in one sentence."""
    counts: str
    """What the number counts."""
    check: Callable[[Facts], tuple[int, str, Sequence[str]] | None]


def _mass_delete(facts: Facts) -> tuple[int, str, Sequence[str]] | None:
    many = [each for each in facts.removals if is_mass_delete(each.removed, each.held)]
    if not many:
        return None
    parts = [
        f"{each.removed} of {each.held} objects from {each.logical_server}"
        for each in sorted(many, key=lambda each: each.logical_server)
    ]
    return sum(each.removed for each in many), f"removes {listed(parts)}", parts


def _root_ns(facts: Facts) -> tuple[int, str, Sequence[str]] | None:
    number = len(facts.redelegated) + facts.redelegated_later
    if not number:
        return None
    named = f": {listed(facts.redelegated)}" if facts.redelegated else ""
    what = counted(number, "zone", "zones")
    return number, f"changes the NS records at the top of {what}{named}", facts.redelegated


def _last_name_server(facts: Facts) -> tuple[int, str, Sequence[str]] | None:
    if not facts.unserved:
        return None
    number = len(facts.unserved)
    what = counted(number, "zone", "zones")
    words = f"removes the last name server of {what}: {listed(facts.unserved)}"
    return number, words, facts.unserved


def _wide_reload(facts: Facts) -> tuple[int, str, Sequence[str]] | None:
    number = len(facts.reloading)
    if number <= facts.reload_boxes:
        return None
    words = f"reloads a daemon on {number} boxes at once: {listed(facts.reloading)}"
    return number, words, facts.reloading


HAZARDS: tuple[HazardRule, ...] = (
    HazardRule(
        "mass-delete",
        ("P3",),
        "What takes more than 5 % of a server's objects away, and at least 20, is more often a"
        " mistake than a wish.",
        "objects that go from such servers",
        _mass_delete,
    ),
    HazardRule(
        "root-ns",
        ("R28", "P3"),
        "Parents delegate to the name servers that a zone itself names: where these change, the"
        " delegation must be changed too, or the zone is lost to whoever asks.",
        "zones whose own NS records change",
        _root_ns,
    ),
    HazardRule(
        "last-name-server",
        ("P3",),
        "A zone that no server answers any more takes the web sites and the mail of its names"
        " with it.",
        "zones that are left without a name server",
        _last_name_server,
    ),
    HazardRule(
        "wide-reload",
        ("P10",),
        "A setting that a daemon does not survive takes down every box that reloads with it.",
        "boxes on which a daemon reloads",
        _wide_reload,
    ),
)
IDS = tuple(rule.id for rule in HAZARDS)


def judge(facts: Facts) -> tuple[Hazard, ...]:
    """Give the hazards of a change, in the order of the rules."""
    found = ((rule.id, rule.check(facts)) for rule in HAZARDS)
    return tuple(
        Hazard(id_, told[0], told[1], _digest(told[2])) for id_, told in found if told is not None
    )


def _digest(names: Sequence[str]) -> str:
    """Tell names apart that stand in no sentence; nothing where all of them do."""
    if len(names) <= NAMED:
        return ""
    return sha256("\n".join(sorted(names)).encode()).hexdigest()[:32]


@attrs.frozen
class Approval:
    """What somebody accepted of a held change, and the hazards that he was shown."""

    held: int
    """The number under which it is held."""
    shown: tuple[Hazard, ...]
    accepted: Mapping[str, int]

    def objections(self, found: Sequence[Hazard]) -> list[str]:
        """Say of each hazard found now why it is not accepted; nothing where all are.

        One that was shown otherwise is no more what was accepted, though the number be the same.
        """
        shown = {hazard.id: hazard for hazard in self.shown}
        parts = []
        for hazard in found:
            before = shown.get(hazard.id)
            if before is None:
                parts.append(f"{hazard.id} is new: it {hazard.words}")
            elif before.words == hazard.words and before != hazard:
                parts.append(f"{hazard.id} is about others than it was: it {hazard.words}")
            elif before != hazard:
                parts.append(f"{hazard.id} was: {before.words}; now it {hazard.words}")
            elif hazard.id not in self.accepted:
                parts.append(f"{hazard.id} is not accepted: it {hazard.words}")
            elif self.accepted[hazard.id] != hazard.number:
                parts.append(
                    f"{hazard.id} is accepted for {self.accepted[hazard.id]}, but it {hazard.words}"
                )
        return parts


def told(hazards: Iterable[Hazard]) -> str:
    """Say what hazards come to, in parts of a sentence."""
    return "; ".join(f"{hazard.words} ({hazard.id})" for hazard in hazards)


def accepting(hazards: Sequence[Hazard]) -> str:
    """Give the options of hsctl that accept hazards, as they are shown beside them."""
    options = [f"--accept {hazard.accepted}" for hazard in hazards]
    return " ".join((*options, f"--shown {seal(hazards)}"))


def seal(hazards: Sequence[Hazard]) -> str:
    """Name hazards as they are shown: others, or the same of others, have another seal."""
    shown = json.dumps([attrs.asdict(hazard) for hazard in hazards], sort_keys=True)
    return sha256(shown.encode()).hexdigest()[:12]
