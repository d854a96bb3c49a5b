"""What a person is shown of moves of zones. Pure."""

from typing import Any

from controller.hsctl.views import Answer


def begun(answer: Answer) -> dict[str, Any]:
    """Give what a move of zones does, in the words of the field."""
    shown = _servers(answer)
    shown["zones"] = (
        f"{answer.get('zones')} are elsewhere: {answer.get('change_master')} change master, "
        f"{answer.get('change_servers')} change name servers; no server reloads"
    )
    if answer.get("on_their_way"):
        shown["on_their_way"] = f"{answer['on_their_way']} by a former move: left to it"
    if answer.get("delegations"):
        shown["change_at_the_parent"] = answer["delegations"]
    if answer.get("move"):
        shown["move"] = answer["move"]
    return shown


def move_row(answer: Answer) -> dict[str, Any]:
    """Give a move of zones as a row."""
    return {
        "move": answer.get("id"),
        "state": answer.get("state"),
        "zones": answer.get("zones"),
        **{name: answer.get(name) for name in ("moved", "under_way", "leaving", "failed")},
        "master": answer.get("master"),
        "slaves": answer.get("slaves"),
        "started_at": answer.get("started_at"),
        "ended_at": answer.get("ended_at"),
    }


def move(answer: Answer) -> dict[str, Any]:
    """Give a move of zones whole, with what zones wait for."""
    shown = {name: value for name, value in answer.items() if name not in _PUT_OTHERWISE}
    return {**_servers(answer), **shown, "waiting": answer.get("waiting") or []}


_PUT_OTHERWISE = ("master", "slaves", "others", "waiting", "message")


def _servers(answer: Answer) -> dict[str, Any]:
    shown: dict[str, Any] = {"master": answer.get("master"), "slaves": answer.get("slaves")}
    if answer.get("others"):
        shown["other_places"] = f"among {', '.join(answer['others'])}"
    if answer.get("message"):
        shown["message"] = answer["message"]
    return shown
