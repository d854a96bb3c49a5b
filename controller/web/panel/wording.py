"""The words of the panel: changes as sentences, conditions as colours, sizes and times for people.

Pure. The words for conditions and states are the model's own; only their colour is decided here.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from controller.cluster.boxes.intents import CONDITIONS, INTENTS
from controller.names import unicode_name

_SENTENCES = {
    "pserver.add": "Box {name} added",
    "pserver.enroll": "New enrolment line for box {name}",
    "pserver.edit": "Box {name} edited",
    "pserver.intent": "Box {name} set to {intent}",
    "pserver.retire": "Box {name} retired",
    "pserver.delete": "Box {name} deleted",
    "pserver.monitoring": "Monitoring of box {name} switched {monitoring}",
    "pserver.service": "Box {name} asked to {action} {service}",
    "pserver.service-answer": "Box {name}: {action} {service} {outcome}",
    "lserver.add": "Logical server {name} added",
    "lserver.set": "Settings of {name} changed",
    "lserver.edit": "Description of {name} changed",
    "lserver.move": "Logical server {name} moved to {to}",
    "lserver.rename": "Logical server {name} renamed to {to}",
    "dns.roles": "Roles of name servers changed",
    "placement.set": "Placement in {group} set to {policy}",
    "dns.apply": "Zones sent to where the roles want them",
    "dns.move": "Zones moved between name servers",
    "dns.stop": "Move of zones stopped",
    "lserver.signup": "Signup on {name} switched {signup}",
    "lserver.recover": "{name} recovered",
    "lserver.delete": "Logical server {name} deleted",
    "ip.add": "Address {first} given to {lserver}",
    "ip.edit": "Address {ip} edited",
    "ip.delete": "Address {ip} deleted",
    "ip.move": "Address {ip} becomes {new}",
    "ip.moving": "Address {old} on its way to {new}: {phase}",
    "ip.stop": "Move of an address given up",
    "model.import": "Model imported",
    "account.add": "Account {name} added",
    "account.delete": "Account {name} deleted",
    "domain.add": "Domain {name} added",
    "domain.delete": "Domain {name} deleted",
    "domain.import": "Zone file of {name} imported",
    "record.add": "Record {name} {type} added in {domain}",
    "record.set": "Record {name} {type} changed in {domain}",
    "record.delete": "Record {name} {type} deleted in {domain}",
    "site.set": "Site of {name} changed",
    "site.address": "Address of the site of {name} changed to a {type} one",
    "service.set": "Uses of the service domain chosen",
    "service.host": "Own site hosted at the service domain",
    "service.unhost": "Own site at the service domain taken away",
    "ssl.upload": "Certificate shared below {domain}",
    "ssl.delete": "Certificate below {domain} shared no more",
    "drift.verify": "Files of {name} verified",
    "drift.repair": "Changed files of {name} brought back {path}",
    "drift.repair-answer": "What came of bringing back files of {name}",
    "fault.retry": "What {lserver} could not apply tried again",
    "operator.disable": "Operator {name} shut out",
    "token.revoke": "API token {id} revoked",
    "change.undo": "Change {id} undone",
    "rollout.begin": "Settings of all {type} servers changed in waves",
    "rollout.wave": "Wave {wave} of {of}: settings of {type} servers changed",
    "rollout.resume": "Rollout {id} resumed",
    "rollout.stop": "Rollout {id} ended",
    "change.approve": "Held change {id} approved",
    "change.withdraw": "Held change {id} withdrawn",
}

_COLOURS = {
    "connected": "green",
    "never connected": "yellow",
    "behind": "azure",
    "held": "orange",
    "ahead": "orange",
    "blocked": "orange",
    "daemon down": "red",
    "disk full": "red",
    "clock skewed": "yellow",
    "certificate expiring": "yellow",
    "version too old": "red",
    "duplicate identity": "red",
    "drifted": "yellow",
    "lost": "red",
    "live": "green",
    "done": "green",
    "ok": "green",
    "pending": "blue",
    "new": "blue",
    "sending": "blue",
    "stored": "blue",
    "waiting": "azure",
    "quarantined": "red",
    "failed": "red",
    "unknown": "yellow",
    "daemon-down": "red",
    "disk-full": "red",
    "approved": "green",
    "withdrawn": "muted",
    "expired": "muted",
    "running": "blue",
    "paused": "orange",
    "stopped": "muted",
    "refuse": "red",
    "warn": "yellow",
    "let in": "green",
    "shut out": "muted",
    "works": "green",
    "revoked": "muted",
}

_MEANINGS: Mapping[str, str] = {
    **{str(word): meaning for word, meaning in CONDITIONS.items()},
    **{intent.word: intent.meaning for intent in INTENTS},
}

_STATES = {
    "done": "live everywhere",
    "pending": "going live",
    "failed": "a box could not apply it",
}

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


class _Blanks(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return ""


def sentence(command: str, request: Mapping[str, Any]) -> str:
    """Say in words what a command did."""
    words = _SENTENCES.get(command)
    if words is None:
        return command
    shown = {name: _word(name, value) for name, value in request.items()}
    return " ".join(words.format_map(_Blanks(shown)).split())


def _word(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int) and name == "id":
        return str(value)
    return readable(value) if isinstance(value, str) else ""


def readable(name: str) -> str:
    """Give a name in Unicode where it is an internationalised one."""
    return unicode_name(name) if "xn--" in name else name


def colour(word: str) -> str:
    """Give the colour of a condition or state."""
    return _COLOURS.get(word, "secondary")


def meaning(word: str) -> str:
    """Say what a condition or an intent of a box means."""
    return _MEANINGS.get(word, "")


def state(word: str) -> str:
    """Say a change's state in words."""
    return _STATES.get(word, word)


def actor(text: str) -> str:
    """Give who did it, without the kind where it is a person."""
    kind, _, name = text.partition(":")
    return name if kind == "operator" else f"the system ({name or kind})"


def size(count: object) -> str:
    """Give a number of bytes for people."""
    if not isinstance(count, int | float) or isinstance(count, bool) or not 0 <= count < 1e21:
        return "unknown"
    number, unit = float(count), 0
    while number >= 1024 and unit < len(_UNITS) - 1:
        number, unit = number / 1024, unit + 1
    return (
        f"{number:.0f} {_UNITS[unit]}"
        if number >= 10 or unit == 0
        else f"{number:.1f} {_UNITS[unit]}"
    )


def duration(seconds: object) -> str:
    """Give a time span for people, in its largest two units."""
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds < 1e12:
        return "unknown"
    left = int(seconds)
    parts: list[str] = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, length)
        if count:
            parts.append(f"{count} {unit}")
        if len(parts) == 2 or (parts and not count):
            break
    return " ".join(parts) or "0 s"


def moment(text: str | None) -> datetime | None:
    """Read a time as commands answer it."""
    try:
        return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        return None


def ago(text: str | None, now: datetime) -> str:
    """Say how long ago something was, to the unit that matters."""
    at = moment(text)
    if at is None:
        return "never"
    seconds = (now - at).total_seconds()
    if seconds < 0:
        return f"in {_largest(-seconds)}"
    return "just now" if seconds < 10 else f"{_largest(seconds)} ago"


def _largest(seconds: float) -> str:
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return f"{int(seconds)} seconds"
