"""What a person is shown of changes: made, planned, held, undone, and where a line comes from."""

from collections.abc import Mapping, Sequence
from typing import Any

from controller.hsctl.views import Answer

MOST_THINGS = 20
"""Things that an undo names."""
_RELATIONS = {
    "drift": "repair of files of",
    "enrolment_token": "enrolment line of",
    "service": "request to the service",
}
_JOBS = frozenset(("address_move", "rollout", "zone_move"))
"""A dry run draws a number for a new one that it does not get."""
_MOST_PLANNED = 20
"""The most lines of a plan that a person is shown; programs get all of them."""
_CHANGE = (
    *("id", "at", "actor", "on_behalf_of", "origin", "command", "reason", "state"),
    *("undoes", "undone_by"),
)


def change_row(row: Answer) -> dict[str, Any]:
    """Give a change as a row, with what it was about."""
    return {**row, "about": _about(row.get("request") or {})}


def undone(answer: Answer) -> dict[str, Any]:
    """Give what an undo brought back."""
    things = [_thing(row) for row in answer.get("rows", ())]
    return {
        "undoes": answer.get("undoes"),
        "command": answer.get("command"),
        "things": things[:MOST_THINGS],
        "in_all": answer.get("things"),
        "warnings": answer.get("warnings"),
    }


def held_row(row: Answer) -> dict[str, Any]:
    """Give a held change as a row, with what it is about and what accepts its hazards."""
    hazards = [f"{each.get('id')}={each.get('number')}" for each in row.get("hazards", ())]
    return {**row, "about": _about(row.get("request") or {}), "hazards": " ".join(hazards)}


def held(answer: Answer) -> dict[str, Any]:
    """Give a held change with the line that approves it."""
    shown = {name: it for name, it in answer.items() if it not in (None, "", [], {})}
    if answer.get("state") == "held":
        line = f"hsctl change approve {answer.get('id')} {answer.get('accept')}"
        shown["approve_with"] = line.strip()
    shown.pop("accept", None)
    shown.pop("shown", None)
    if answer.get("plan"):
        shown["plan"] = "; ".join(map(str, answer["plan"]))
    return shown


def version(item: Answer) -> dict[str, Any]:
    """Give a version of an object as a row; a server that is gone has no name any more."""
    on = item.get("logical_server") or "(deleted)"
    return {**item, "server": on}


def why(answer: Answer) -> dict[str, Any]:
    """Give where a line of a file comes from: the object, then the change."""
    by = answer.get("change") or {}
    said = {
        "object": f"{answer.get('kind')} {answer.get('key')}".strip(),
        "logical_server": answer.get("logical_server"),
        "line": answer.get("text"),
        "change": by.get("id"),
        "command": by.get("command"),
        "by": by.get("actor"),
        "on_behalf_of": by.get("on_behalf_of"),
        "at": by.get("at"),
        "reason": by.get("reason"),
        "revision": answer.get("revision"),
        "others_in_the_file": answer.get("others"),
        "note": answer.get("words"),
        "on_the_box": "applied"
        if answer.get("applied")
        else f"not applied yet: {answer.get('message') or 'the box is behind'}",
    }
    return {name: value for name, value in said.items() if value not in (None, "", [])}


def change(answer: Answer) -> dict[str, Any]:
    """Give a change: who, when and what, then the lanes and what was before and after."""
    shown: dict[str, Any] = {
        name: answer[name] for name in _CHANGE if answer.get(name) not in (None, "", [])
    }
    if "request" in answer:
        given = {name: it for name, it in answer["request"].items() if it not in (None, "", [])}
        shown["request"] = given
    if answer.get("rows"):
        shown["rows"] = [
            {"thing": _thing(row), "difference": difference(row)} for row in answer["rows"]
        ]
    if answer.get("lanes"):
        shown["lanes"] = [
            {
                "box": lane["box"],
                "object": f"{lane['kind']} {lane['key'] or lane['logical_server']}",
                "state": lane["state"],
                "message": lane["message"],
            }
            for lane in answer["lanes"]
        ]
    return shown


def difference(row: Answer) -> str:
    """Say what a change did to a row: added, removed, or the fields that it set."""
    before, after = row.get("before"), row.get("after")
    if not isinstance(before, Mapping):
        return "added"
    if not isinstance(after, Mapping):
        return "removed"
    parts = []
    for name in dict.fromkeys((*before, *after)):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if isinstance(old, list) and isinstance(new, list):
            gone = sum(part not in new for part in old)
            come = sum(part not in old for part in new)
            parts.append(f"{name} +{come} -{gone}")
        elif isinstance(old, list | Mapping) or isinstance(new, list | Mapping):
            parts.append(f"{name} changed")
        else:
            parts.append(f"{name} {_word(old)} -> {_word(new)}")
    return ", ".join(parts) or "unchanged"


def plan(given: Answer) -> dict[str, Any]:
    """Give the plan of a dry run in the controller's words, then what they sum up."""
    shown: dict[str, Any] = {}
    if given.get("words"):
        shown["plan"] = "; ".join(map(str, given["words"]))
    if objects := given.get("objects"):
        shown["would_change_on_boxes"] = [
            {
                "action": part.get("action"),
                "object": f"{part.get('kind')} {part.get('key') or part.get('logical_server')}",
                "boxes": part.get("boxes"),
            }
            for part in objects[:_MOST_PLANNED]
        ] + _left_out(objects, "object")
    if rows := given.get("rows"):
        shown["would_change_in_the_model"] = [
            {"action": part.get("action"), "thing": _planned(part)} for part in rows[:_MOST_PLANNED]
        ] + _left_out(rows, "thing")
    return shown


def _planned(row: Answer) -> str:
    relation = str(row.get("relation"))
    new_job = relation in _JOBS and row.get("action") == "add"
    return relation.replace("_", " ") if new_job else _thing(row)


def _left_out(found: Sequence[Any], column: str) -> list[dict[str, Any]]:
    left = len(found) - _MOST_PLANNED
    return [{"action": "", column: f"and {left} more: -o json has all"}] if left > 0 else []


def _thing(row: Answer) -> str:
    """Name a row of the model in the words of the field."""
    relation, key = str(row.get("relation")), str(row.get("key"))
    if relation == "ip_address":
        address, _, port = key.partition(" ")
        return f"IP address {address}, port {port}" if port else f"IP address {address}"
    return f"{_RELATIONS.get(relation, relation.replace('_', ' '))} {key}"


def _about(request: Answer) -> str:
    fields = ("domain", "lserver", "name", "ip", "type", "values", "service", "action", "outcome")
    named = [request.get(name) for name in fields]
    words = []
    for value in named:
        if isinstance(value, list):
            words += [str(part) for part in value]
        elif value not in (None, ""):
            words.append(str(value))
    return " ".join(words)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value in (None, "") else str(value)
