"""What a change would do: the answer of a dry run, as data and in the words of the field. Pure.

The words are made here once: the API answers them, and hsctl and the panel show them as they are.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import attrs

from controller.fleet.differences import LaneDifferences
from controller.hazards import Hazard
from controller.sentences import listed
from templates.objects import Disturbance

Action = Literal["add", "change", "remove"]

_LONGEST = 80

_NOUNS = {
    "account": ("account", "accounts"),
    "address": ("dedicated address", "dedicated addresses"),
    "api_token": ("API token", "API tokens"),
    "box": ("box", "boxes"),
    "domain": ("domain", "domains"),
    "enrolment_token": ("enrolment line of", "enrolment lines"),
    "held_change": ("held change", "held changes"),
    "ip_address": ("IP address", "IP addresses"),
    "lane": ("lane", "lanes"),
    "logical_server": ("logical server", "logical servers"),
    "operator": ("operator", "operators"),
    "record": ("record", "records"),
    "rollout": ("rollout", "rollouts"),
    "site": ("site", "sites"),
    "zone": ("zone", "zones"),
    "zone_move": ("move of zones", "moves of zones"),
    "address_move": ("move of an address", "moves of addresses"),
}
_JOBS = frozenset({"address_move", "rollout", "zone_move"})
"""Their rows have a number that nobody knows before: what a new one does is foreseen in words."""
_ASKED: Mapping[str, Callable[[str], str]] = {
    "drift": lambda server: (
        f"has the boxes of {server} bring files back, and reload for it where they must: "
        f"hsctl drift preview {server} tells which"
    ),
    "service": lambda key: "has {} act on its service {}".format(*key.split("/", 1)),
}
"""What boxes are asked for beside the model; its rows only say that it was asked."""
_VERBS: Mapping[Action, str] = {"add": "adds", "change": "changes", "remove": "removes"}
_OWN = "server"
"""The object that is a logical server itself: that its server is touched says it already."""


@attrs.frozen
class PlannedObject:
    """One desired object that a change touches, and what its daemon goes through for it."""

    action: Action
    kind: str
    key: str
    logical_server: str
    boxes: tuple[str, ...]
    disturbs: Disturbance = "nothing"


@attrs.frozen
class PlannedRow:
    """One row of the model that a change touches."""

    action: Action
    relation: str
    key: str


@attrs.frozen
class Foreseen:
    """What jobs do once the change is made: in words, and on which logical servers.

    ``removals`` are objects that they take from logical servers, by the ids of these;
    ``redelegated`` zones whose own NS records they change, ``reloading`` boxes on which they
    reload a daemon at once.
    """

    words: tuple[str, ...] = ()
    logical_servers: tuple[str, ...] = ()
    removals: Mapping[str, int] = attrs.field(factory=dict)
    redelegated: int = 0
    reloading: tuple[str, ...] = ()


@attrs.frozen
class ChangePlan:
    """What a change would do, in the words of the model; ``drawn`` names what chance decided.

    ``words`` say all of it in parts of a sentence: *touches ns1, ns2*, *214 zones change master*,
    *nothing reloads*. A change with ``hazards`` is held back until these are accepted.
    """

    objects: tuple[PlannedObject, ...]
    rows: tuple[PlannedRow, ...]
    drawn: Mapping[str, str]
    foreseen: Foreseen = Foreseen()
    differences: tuple[LaneDifferences, ...] | None = None
    """What would change on the boxes, server by server; None where they were not asked."""
    hazards: tuple[Hazard, ...] = ()
    words: tuple[str, ...] = attrs.field(init=False)

    @words.default
    def _words(self) -> tuple[str, ...]:
        asked = tuple(_ASKED[row.relation](row.key) for row in self.rows if row.relation in _ASKED)
        touched = _touched(self)
        changes = (*_changes(self), *self.foreseen.words)
        if asked and not touched and not changes:
            return asked
        if not touched and not changes:
            return ("nothing changes",)
        return (
            *asked,
            f"touches {listed(touched) if touched else 'no server'}",
            *changes,
            *_disturbances(self, touched),
            *(f"drawn at random: {what} {chosen}" for what, chosen in self.drawn.items()),
            *(f"is held back: {each.words} ({each.accepted})" for each in self.hazards),
        )


def _touched(plan: ChangePlan) -> list[str]:
    servers = (each.logical_server for each in plan.objects)
    return sorted({*servers, *plan.foreseen.logical_servers})


def _changes(plan: ChangePlan) -> list[str]:
    """Say what is added, changed and removed: what stands in the model, then what it comes to."""
    things: list[tuple[Action, str, str]] = [
        (row.action, row.relation, row.key)
        for row in plan.rows
        if row.relation not in _ASKED and not (row.action == "add" and row.relation in _JOBS)
    ]
    told = {(relation, key) for _, relation, key in things}
    beside: dict[tuple[str, str], Action] = {}
    for each in plan.objects:
        name = (each.kind, each.key)
        if each.kind == _OWN or name in told:
            continue
        # One that comes to one server and goes from another has changed.
        same = beside.get(name, each.action) == each.action
        beside[name] = each.action if same else "change"
    things += [(action, kind, key) for (kind, key), action in beside.items()]
    return [
        f"{verb} {_counts([(noun, key) for it, noun, key in things if it == action])}"
        for action, verb in _VERBS.items()
        if any(it == action for it, _, _ in things)
    ]


def _counts(things: Iterable[tuple[str, str]]) -> str:
    keys: dict[str, list[str]] = {}
    for relation, key in things:
        keys.setdefault(relation, []).append(key)
    return ", ".join(_count(relation, found) for relation, found in keys.items())


def _count(relation: str, keys: Sequence[str]) -> str:
    one, many = _NOUNS.get(relation, (relation, f"{relation}s"))
    if len(keys) > 1:
        return f"{len(keys)} {many}"
    return f"{one} {_cut(_key(relation, keys[0]))}".strip()


def _key(relation: str, key: str) -> str:
    address, _, port = key.partition(" ")
    return f"{address}, port {port}" if relation == "ip_address" and port else key


def _cut(key: str) -> str:
    return key if len(key) <= _LONGEST else f"{key[: _LONGEST - 3]}..."


def _disturbances(plan: ChangePlan, touched: Sequence[str]) -> list[str]:
    """Say which daemons start, restart or reload, now and by jobs, and which go on undisturbed."""
    states: dict[str, set[str]] = {}
    for each in plan.objects:
        starts = each.kind == _OWN and each.action == "add"
        states.setdefault(each.logical_server, set()).add("start" if starts else each.disturbs)
    parts = []
    disturbed: set[str] = set()
    for state, one, many in (
        ("start", "starts", "start"),
        ("restart", "restarts", "restart"),
        ("reload", "reloads", "reload"),
    ):
        names = [
            name for name in touched if state in states.get(name, ()) and name not in disturbed
        ]
        disturbed |= set(names)
        if names:
            parts.append(f"{listed(names)} {one if len(names) == 1 else many}")
    if later := len(plan.foreseen.reloading):
        boxes = "1 box" if later == 1 else f"{later} boxes"
        return [*parts, f"daemons reload on {boxes} at once"]
    calm = [name for name in touched if name not in disturbed]
    if not disturbed:
        return ["nothing reloads"]
    if calm:
        parts.append(f"{listed(calm)} {'does' if len(calm) == 1 else 'do'} not reload")
    return parts
