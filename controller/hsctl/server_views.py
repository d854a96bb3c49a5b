"""What a person is shown of logical servers, their settings, groups and roles. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from controller.hsctl import views
from controller.hsctl.views import Answer


def server(answer: Answer) -> dict[str, Any]:
    """Give a logical server whole, each setting with its help."""
    shown = views.server(answer)
    if shown.pop("modelled", False):
        shown["type"] = f"{shown.get('type')} (modelled: no box runs it yet)"
    if isinstance(used := shown.get("used_by"), Mapping):
        shown["used_by"] = _used(used)
    if "options" in shown:
        shown["settings"] = _options(shown.pop("options"))
    return shown


def server_set(answer: Answer) -> dict[str, Any]:
    """Give the settings of a logical server as they are now."""
    shown = {name: answer[name] for name in ("name", "warnings") if answer.get(name)}
    return {**shown, "settings": _options(answer.get("options") or [])}


def records(answer: Answer) -> dict[str, Any]:
    """Give the records of a server as a master file would show them, and those that are missing."""
    shown: dict[str, Any] = {"name": answer.get("name"), "zone": answer.get("zone")}
    if not answer.get("in_service_zone", True):
        shown["zone"] = f"outside of {answer.get('zone')}: its records are made by hand"
    for name in ("records", "missing"):
        if answer.get(name):
            shown[name] = [
                {part: record.get(part) for part in ("fqdn", "ttl", "type", "data")}
                for record in answer[name]
            ]
    return shown


def _options(options: Sequence[Answer]) -> list[dict[str, Any]]:
    return [
        {
            "setting": one.get("name"),
            "value": one.get("value"),
            "default": one.get("default"),
            "help": f"{one.get('title')}. {one.get('help')}",
        }
        for one in options
    ]


def _used(used: Answer) -> str:
    words = [
        f"{used[many]} {one if used[many] == 1 else many}"
        for one, many in (("zone", "zones"), ("site", "sites"), ("address", "addresses"))
        if used.get(many)
    ]
    words += [f"{one['server']} ({one['setting']})" for one in used.get("settings") or ()]
    words += ["what is new in its group is pinned to it"] if used.get("pinned") else []
    return ", ".join(words) or "nothing"


def group_row(group: Answer) -> dict[str, Any]:
    """Give a server group as a row, with its types."""
    types = [
        f"{one['name']}{' (modelled)' if one.get('modelled') else ''}"
        for one in group.get("types") or ()
    ]
    return {**group, "group": group.get("name"), "types": types}


def dns(answer: Answer) -> dict[str, Any]:
    """Give the name servers with their roles, and for whom these count."""
    shown: dict[str, Any] = {}
    if answer.get("name_servers"):
        shown["name_servers"] = [
            {name: value for name, value in server.items() if name != "id"}
            for server in answer["name_servers"]
        ]
    shown["new_zones"] = [
        {
            "of": one.get("title"),
            "name_servers": one.get("name_servers"),
            "placed": "by role" if one.get("by_role") else f"at random: {one.get('reason')}",
        }
        for one in answer.get("audiences") or ()
    ]
    if answer.get("warnings"):
        shown["warnings"] = answer["warnings"]
    return shown


def renamed(answer: Answer) -> dict[str, Any]:
    """Give what a new name of a server changes, and what still says the old one."""
    shown: dict[str, Any] = {"name": answer.get("name"), "was": answer.get("was")}
    if answer.get("settings"):
        shown["settings"] = [f"{one['server']} ({one['setting']})" for one in answer["settings"]]
    if answer.get("parents"):
        shown["change_at_the_parent"] = answer["parents"]
    if answer.get("by_hand"):
        shown["records_by_hand"] = answer["by_hand"]
    if answer.get("warnings"):
        shown["warnings"] = answer["warnings"]
    return shown
