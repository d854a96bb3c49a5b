"""What a person is shown of moves of addresses. Pure."""

from typing import Any

from controller.hsctl.terminal import moment
from controller.hsctl.views import Answer


def begun(answer: Answer) -> dict[str, Any]:
    """Give what a move of an address does, in the words of the field."""
    server = answer.get("logical_server")
    shown: dict[str, Any] = {
        "logical_server": server,
        "address": f"{answer.get('old')} becomes {answer.get('new')}/{answer.get('prefix')}, "
        f"port {answer.get('port')} ({answer.get('type')})",
        "follows": _follows(answer),
        "old_answers": f"at least {_hours(int(answer.get('old_answers_seconds') or 0))} "
        "after the switch",
    }
    shown |= left_to_people(answer)
    if answer.get("warnings"):
        shown["warnings"] = answer["warnings"]
    if answer.get("move"):
        shown["move"] = answer["move"]
    return shown


def left_to_people(answer: Answer) -> dict[str, Any]:
    """Give what names the old address and was written by people."""
    shown: dict[str, Any] = {}
    if answer.get("parents"):
        server = answer.get("logical_server")
        shown["change_at_the_parent"] = [
            f"{zone}: glue of {server}, {answer.get('old')} to {answer.get('new')}"
            for zone in answer["parents"]
        ]
    if answer.get("name_by_hand"):
        shown["name_kept_elsewhere"] = f"{answer['name_by_hand']}: change its address there"
    if answer.get("by_hand"):
        shown["records_by_hand"] = [
            {"zone": one["zone"], "name": one["name"], "type": one["type"], "data": one["data"]}
            for one in answer["by_hand"]
        ]
    if answer.get("settings"):
        shown["settings_by_hand"] = [
            f"hsctl lserver set {one['server']} {one['setting']}=..." for one in answer["settings"]
        ]
    if answer.get("boxes"):
        shown["boxes_by_hand"] = [
            f"hsctl pserver edit {box} --ip {answer.get('new')}" for box in answer["boxes"]
        ]
    return shown


def move_row(answer: Answer) -> dict[str, Any]:
    """Give a move of an address as a row."""
    names = ("logical_server", "old", "new", "port", "state", "phase", "passed", "zones", "failed")
    return {
        "move": answer.get("id"),
        **{name: answer.get(name) for name in names},
        "started_at": answer.get("started_at"),
        "ended_at": answer.get("ended_at"),
    }


def move(answer: Answer) -> dict[str, Any]:
    """Give a move of an address whole, with what it waits for."""
    hidden = ("words", "may_stop", "parents", "name_by_hand", "by_hand", "settings", "boxes")
    shown = {name: value for name, value in answer.items() if name not in hidden}
    shown["phase"] = f"{answer.get('phase')}: {answer.get('words')}"
    return {**shown, **left_to_people(answer)}


def far(answer: Answer) -> str:
    """Say how far a move is, in one line."""
    words = f"{answer['phase']}: {answer['words']}"
    if answer["zones"] and answer["phase"] in ("announced", "following"):
        words += f", {answer['passed']} of {answer['zones']} zones"
    if answer["old_until"]:
        words += f" ({moment(answer['old_until'])})"
    return words


def _follows(answer: Answer) -> str:
    zones, sites = int(answer.get("zones") or 0), int(answer.get("sites") or 0)
    if zones:
        return f"transfer lists of {zones} {'zone' if zones == 1 else 'zones'}, the service zone"
    if sites:
        return f"records of {sites} {'site' if sites == 1 else 'sites'}, the service zone"
    return "the service zone" if answer.get("type") in ("service", "shared") else "no record"


def _hours(seconds: int) -> str:
    return f"{seconds // 60} minutes" if seconds < 7200 else f"{seconds // 3600} hours"
