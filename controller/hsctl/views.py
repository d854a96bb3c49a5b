"""What a person is shown of an answer: pure functions from an answer to fewer, plainer fields.

Programs get the whole answer by ``-o json``. A field that an older or newer controller leaves out
is left out here too.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from controller.sentences import counted

Answer = Mapping[str, Any]
View = Callable[[Answer], dict[str, Any]]

_HIDDEN = frozenset(("id", "version"))
_GIB = 1024**3


def plain(answer: Answer) -> dict[str, Any]:
    """Leave out what only programs need: ids where names serve, and versions."""
    return {name: value for name, value in answer.items() if name not in _HIDDEN}


def foreseen(view: View) -> View:
    """Make the view of a dry run's answer: without the number that it drew for a job."""
    return lambda answer: {
        name: value for name, value in view(answer).items() if name not in ("move", "rollout")
    }


def nothing(answer: Answer) -> dict[str, Any]:
    """Show nothing: what was done is said in a line of its own."""
    return {}


def place(address: object, port: object) -> str:
    """Write an address with its port as it is typed: IPv6 in brackets."""
    text = str(address)
    host = f"[{text}]" if ":" in text else text
    return host if port is None else f"{host}:{port}"


def lane_words(
    connected: bool, condition: str, settled: int, revision: int, faults: int = 0
) -> str:
    """Say in the words of the design how a lane stands; ``faults`` are objects not applied."""
    if condition not in ("ok", "new"):
        return condition.replace("-", " ")
    if settled < revision:
        return f"behind by {revision - settled}" if connected else "behind, not connected"
    if faults and connected:
        return counted(faults, "fault", "faults")
    return "up to date" if connected else "not connected"


def server_row(server: Answer) -> dict[str, Any]:
    """Give a logical server as a row: where it is and how its boxes stand."""
    return {
        **server,
        "addresses": [place(ip["ip"], ip["port"]) for ip in server.get("ips", ())],
        "pservers": [lane["pserver"] for lane in server.get("lanes", ())],
        "state": _together(_lanes(server)),
    }


def server(server: Answer) -> dict[str, Any]:
    """Give a logical server whole: settings in words, addresses and lanes as tables."""
    shown = plain(server)
    shown.pop("revision", None)
    if "lanes" in shown:
        shown["lanes"] = [
            {"pserver": lane["pserver"], "state": words, "message": lane["message"]}
            for lane, words in zip(server["lanes"], _lanes(server), strict=True)
        ]
    if "ips" in shown:
        shown["addresses"] = [
            {"address": place(ip["ip"], ip["port"]), "type": ip["type"], "tag": ip["tag"]}
            for ip in shown.pop("ips")
        ]
    return {name: value for name, value in shown.items() if value not in ("", [], {}, None)}


def _lanes(server: Answer) -> list[str]:
    return [
        lane_words(
            lane["connected"],
            lane["condition"],
            lane["settled_revision"],
            server.get("revision", 0),
            lane.get("faults", 0),
        )
        for lane in server.get("lanes", ())
    ]


def _together(words: Sequence[str]) -> str:
    """Sum lanes up: one word where all agree."""
    return ", ".join(dict.fromkeys(words))


def box(box: Answer) -> dict[str, Any]:
    """Give a box without what its condition says already."""
    hidden = {"condition", "never_connected", "connected", "prefix", "ip", "muted"}
    if not box.get("retired_at"):
        hidden.add("retired_at")
    if not box.get("description"):
        hidden.add("description")
    shown = {name: value for name, value in plain(box).items() if name not in hidden}
    if "ip" in box:
        shown = {"name": box.get("name"), "ip": _with_prefix(box), **shown}
    return shown


def invitation(answer: Answer) -> dict[str, Any]:
    """Give what to run on a new box. The token is in the line already."""
    return {name: it for name, it in box(answer).items() if name != "token" and it is not None}


def changed(answer: Answer) -> dict[str, Any]:
    """Give a thing that was changed, its warnings only where there are any."""
    return {name: it for name, it in box(answer).items() if it not in ("", [], None)}


def retired(answer: Answer) -> dict[str, Any]:
    """Give what a box that is gone leaves: each logical server with the boxes it could go to."""
    return {
        **plain(answer),
        "logical_servers": [
            {
                "name": server.get("name"),
                "type": server.get("type"),
                "serves": f"{server.get('zones')} zones, {server.get('sites')} sites",
                "could go to": ", ".join(server.get("places", ())) or "no box: add one",
            }
            for server in answer.get("logical_servers", ())
        ],
    }


def enrolment(answer: Answer) -> dict[str, Any]:
    """Give an enrolment over SSH with its steps as a table."""
    shown = {name: it for name, it in answer.items() if it not in ("", None, [])}
    if answer.get("steps"):
        shown["steps"] = [
            {"step": step["words"], "state": step["state"], "message": step["message"]}
            for step in answer["steps"]
        ]
    return shown


def domain(answer: Answer) -> dict[str, Any]:
    """Give a domain with its site in one line."""
    shown = plain(answer)
    if shown.get("unicode") == shown.get("name"):
        shown.pop("unicode", None)
    found = shown.get("site")
    if isinstance(found, Mapping):
        shown["site"] = _site_line(found)
    servers = shown.get("name_servers")
    if isinstance(servers, list) and all(isinstance(part, Mapping) for part in servers):
        shown["name_servers"] = [_name_server(part) for part in servers]
    return shown


def domain_row(row: Answer) -> dict[str, Any]:
    """Give a domain as a row: its Unicode form only where that is another one."""
    same = row.get("unicode") == row.get("name")
    return {**row, "unicode": None if same else row.get("unicode")}


def records(answer: Answer) -> dict[str, Any]:
    """Give records as a master file would show them."""
    if "records" not in answer:
        return plain(answer)
    return {
        "zone": answer.get("domain"),
        "serial": answer.get("serial"),
        "records": [
            {name: record.get(name) for name in ("fqdn", "ttl", "type", "data")}
            for record in answer["records"]
        ],
    }


def site(answer: Answer) -> dict[str, Any]:
    """Give a site with its place in one field and its settings in words."""
    shown = plain(answer)
    if "address" in shown:
        shown["address"] = place(shown["address"], shown.pop("port", None))
    if "tls_port" in shown:
        shown["TLS port"] = shown.pop("tls_port") or "none"
    if not shown.get("warnings", True):
        del shown["warnings"]
    if shown.get("settings", "") is None:
        shown["settings"] = "the server's own"
    if not shown.get("alias", True):
        del shown["alias"]
    if "has_certificate" in shown:
        has_one = shown.pop("has_certificate")
        shown["certificate"] = "its own" if has_one else "none"
    return shown


def address(answer: Answer) -> dict[str, Any]:
    """Give an address with its prefix."""
    if "prefix" not in answer:
        return plain(answer)
    shown = {name: value for name, value in plain(answer).items() if name not in ("ip", "prefix")}
    return {"ip": _with_prefix(answer), **shown}


def addresses_added(answer: Answer) -> dict[str, Any]:
    """Give the addresses that were added, a row each."""
    return {
        **plain(answer),
        "added": [
            {"address": place(ip["ip"], ip["port"]), "type": ip["type"], "tag": ip["tag"]}
            for ip in answer.get("added", ())
        ],
    }


def system(answer: Answer) -> dict[str, Any]:
    """Give what a box told of itself: sizes in GiB, the uptime in days and hours."""
    facts = answer.get("facts")
    if not isinstance(facts, Mapping):
        return plain(answer)
    shown: dict[str, Any] = {name: answer.get(name) for name in ("name", "connected", "facts_at")}
    shown |= {name: facts[name] for name in ("host", "os", "kernel") if name in facts}
    if isinstance(facts.get("uptime"), int | float):
        shown["uptime"] = duration(facts["uptime"])
    if isinstance(cpu := facts.get("cpu"), Mapping):
        shown["cpu"] = f"{cpu.get('count')} x {cpu.get('model')}, {cpu.get('percent')} % busy"
        shown["load"] = cpu.get("load")
    if isinstance(memory := facts.get("memory"), Mapping):
        shown["memory"] = _free(memory.get("available"), memory.get("total"))
        if memory.get("swap_total"):
            shown["swap"] = f"{_gib(memory.get('swap_used'))} of {_gib(memory['swap_total'])} used"
    if isinstance(facts.get("clock_skew"), int | float):
        shown["clock"] = f"{facts['clock_skew']:+.3f} s from the controller's"
    if disks := _things(facts.get("disks")):
        shown["disks"] = [
            {
                "mount": disk.get("mount"),
                "space": _free(disk.get("free"), disk.get("total")),
                "type": disk.get("type"),
                "device": disk.get("device"),
            }
            for disk in disks
        ]
    if interfaces := _things(facts.get("interfaces")):
        shown["interfaces"] = [
            {
                "name": one.get("name"),
                "up": one.get("up"),
                "mac": one.get("mac"),
                "addresses": [part.get("address") for part in _things(one.get("addresses"))],
            }
            for one in interfaces
        ]
    if isinstance(grants := facts.get("grants"), Mapping):
        shown["granted"] = [{"what": name, "allowed": what} for name, what in grants.items()]
    if services := _things(facts.get("services")):
        shown["services"] = [
            {name: it for name, it in service.items() if name != "lane"} for service in services
        ]
    return shown


def duration(seconds: float) -> str:
    """Say a time in its two largest units."""
    days, rest = divmod(int(seconds), 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, left = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{left} s"


def _things(value: object) -> list[Answer]:
    found = value if isinstance(value, list) else []
    return [part for part in found if isinstance(part, dict)]


def _free(free: object, total: object) -> str:
    return f"{_gib(free)} of {_gib(total)} free"


def _gib(size: object) -> str:
    return f"{size / _GIB:.1f} GiB" if isinstance(size, int | float) else "?"


def _with_prefix(answer: Answer) -> str:
    prefix = answer.get("prefix")
    return str(answer["ip"]) if prefix is None else f"{answer['ip']}/{prefix}"


def _site_line(found: Answer) -> str:
    if "logical_server" not in found:
        return ", ".join(f"{name} {value}" for name, value in found.items())
    where = place(found.get("address"), found.get("port"))
    own = ", own certificate" if found.get("has_certificate") else ""
    own += ", own settings" if found.get("settings") else ""
    own += f", also {found['alias']}" if found.get("alias") else ""
    return f"{found['logical_server']} ({where}){own}"


def _name_server(found: Answer) -> str:
    where = f", {place(found['address'], found.get('port'))}" if "address" in found else ""
    return f"{found.get('name')} ({found.get('role')}{where})"
