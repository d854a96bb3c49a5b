"""What a person is shown of placement: words for verdicts, a bar for each server. Pure."""

from collections.abc import Sequence
from typing import Any

from controller.hsctl.views import Answer

WIDTH = 30
"""Signs of the longest bar."""
_BAR, _PARTS = "█", " ▏▎▍▌▋▊▉"
_TAKES = {"yes": "yes", "spare": "only if no other", "no": "no"}


def bar(count: float, most: float) -> str:
    """Draw a share of the longest bar, to an eighth of a sign."""
    if count <= 0 or most <= 0:
        return ""
    eighths = max(1, round(min(count / most, 1.0) * WIDTH * 8))
    return (_BAR * (eighths // 8) + _PARTS[eighths % 8]).strip()


def policy(answer: Answer) -> str:
    """Say a policy with what it names."""
    name = str(answer.get("policy"))
    if answer.get("pinned"):
        return f"{name} to {answer['pinned']}"
    weights = answer.get("weights") or {}
    words = ", ".join(f"{server} {weight}" for server, weight in weights.items())
    return f"{name}: {words}" if words else name


def policies(answer: Answer) -> dict[str, Any]:
    """Give the policy of each group as a table."""
    return {
        "placement": [
            {"group": one.get("group"), "title": one.get("title"), "policy": policy(one)}
            for one in answer.get("groups") or ()
        ]
    }


def chosen(answer: Answer) -> dict[str, Any]:
    """Give a policy that was chosen, with its meaning."""
    shown = {"group": answer.get("group"), "policy": policy(answer)}
    if answer.get("meaning"):
        shown["meaning"] = answer["meaning"]
    return {**shown, "warnings": answer.get("warnings") or []}


def explained(answer: Answer) -> dict[str, Any]:
    """Give every server of a group with what speaks for and against it."""
    shown = {"group": answer.get("group"), **_placed(answer)}
    if answer.get("account"):
        shown["account"] = answer["account"]
    if answer.get("refused"):
        shown["refused"] = answer["refused"]
    items = answer.get("items") or []
    shown["servers"] = [
        {
            "server": one.get("name"),
            "pservers": one.get("pservers"),
            "takes": _TAKES.get(str(one.get("takes")), one.get("takes")),
            "as": " or ".join(one.get("places") or ()),
            "why": _why(one),
            "holds": one.get("holds"),
            **({"weight": one.get("weight")} if answer.get("weights") else {}),
        }
        for one in items
    ]
    if answer.get("next"):
        shown["more"] = f"more than {len(items)} servers: narrow them down with --filter"
    return shown


def simulated(answer: Answer) -> dict[str, Any]:
    """Give where new accounts would go: for each group a bar for each server."""
    shown: dict[str, Any] = {
        "accounts": f"{answer.get('count')} new ones with a domain each; nothing was written",
        "seed": answer.get("seed"),
    }
    for group in answer.get("groups") or ():
        name, servers = group.get("group"), group.get("servers") or []
        shown[f"{name}_policy"] = policy(group)
        if group.get("refused"):
            shown[f"{name}_refused"] = group["refused"]
            continue
        shown[str(name)] = _bars(servers)
    return shown


def _bars(servers: Sequence[Answer]) -> list[dict[str, Any]]:
    most = max((int(one.get("new") or 0) for one in servers), default=0)
    parts = [name for name in ("master", "secondary") if servers and name in servers[0]]
    return [
        {
            "server": one.get("name"),
            "new": one.get("new"),
            "share": bar(int(one.get("new") or 0), most),
            **{name: one.get(name) for name in parts},
        }
        for one in servers
    ]


def _placed(answer: Answer) -> dict[str, Any]:
    words = policy(answer)
    return {"policy": f"by role; what no role fills {words}" if answer.get("by_role") else words}


def _why(one: Answer) -> str:
    reasons = ", ".join(one.get("reasons") or ())
    return f"though {reasons}" if reasons and one.get("takes") == "yes" else reasons
