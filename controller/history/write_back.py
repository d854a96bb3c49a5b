"""Writing earlier rows back, through the doors that commands use: rules and projections hold.

What one command wrote another one takes back, so most of it is a list of commands, decided purely.
Only what no command can ask for (a deleted thing with its ids, records with who keeps them, the
very dedicated address) has a door of its own beside the command that owns it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
import msgspec

from controller.commands import Registry, Work
from controller.history.effect import Effect, Kept, Thing, Turn, not_kept
from controller.hosting import accounts
from controller.hosting.domain_return import KeptDomain, KeptSite, bring_back
from controller.hosting.record_commands import checked_beside
from controller.hosting.records import Rrset
from controller.hosting.site_addresses import SiteAddresses
from controller.hosting.zones import Zone, rewrite_zone, zone_name, zone_of_domain
from controller.projection.zones import RecordRow
from controller.refusal import CommandError
from templates.apache.objects import SiteSettings

_EDITED = ("os_family", "groups", "description")


@attrs.frozen
class Step:
    """One command with the fields that are not left out."""

    command: str
    fields: Mapping[str, Any]


def steps_back(thing: Thing, turn: Turn) -> Iterator[Step]:
    """Give the commands that take a thing back to what it was before. Pure."""
    before, after = turn.before, turn.after
    if before is None and after is not None:
        yield from _deletion(thing, after)
    elif after is None and before is not None:
        yield from _addition(thing, before)
    elif before is not None and after is not None:
        changed = {place: old for place, (old, _) in turn.difference.items()}
        if thing.relation in _CHANGES:
            yield from _CHANGES[thing.relation](thing.key, before, after, changed)


def _deletion(thing: Thing, after: Kept) -> Iterator[Step]:
    if thing.relation in ("account", "domain"):
        yield Step(f"{thing.relation}.delete", {"name": thing.key})
    elif thing.relation == "logical_server":
        yield Step("lserver.delete", {"name": thing.key})
    elif thing.relation == "ip_address":
        first, _, last = thing.key.partition("-")
        range_ = {"last": last, "confirm": after["count"]} if last else {}
        yield Step("ip.delete", {"ip": first, "port": after["port"], **range_})


def _addition(thing: Thing, before: Kept) -> Iterator[Step]:
    if thing.relation == "ip_address":
        first, _, last = thing.key.partition("-")
        fields = {
            "lserver": before["logical_server"],
            "first": first,
            "last": last,
            "mask": str(before["prefix"]),
            "type": before["type"],
            "port": before["port"],
        }
        yield Step("ip.add", fields if before["tag"] is None else {**fields, "tag": before["tag"]})
    elif thing.relation == "logical_server":
        raise CommandError(
            "undo.server-gone",
            f"what boxes knew of {thing.key} is gone: it comes back only as a new server",
            field="id",
            value=thing.key,
            allowed=f"hsctl lserver add {thing.key}",
            status=409,
        )


Changed = Mapping[tuple[str, ...], Any]


def _box(key: str, before: Kept, after: Kept, changed: Changed) -> Iterator[Step]:
    names = {place[0] for place in changed}
    edited = {name: before[name] for name in _EDITED if name in names}
    if "ip" in names:
        edited["ip"] = before["ip"]
    if "prefix" in names:
        edited["mask"] = str(before["prefix"])
    if edited:
        yield Step("pserver.edit", {"name": key, **edited})
    for name in ("intent", "monitoring"):
        if name in names:
            yield Step(f"pserver.{name}", {"name": key, name: before[name]})


def _server(key: str, before: Kept, after: Kept, changed: Changed) -> Iterator[Step]:
    names = {place[0] for place in changed}
    if "pserver" in names:
        (box,) = before["pserver"]
        yield Step("lserver.move", {"name": key, "to": box})
    settings = {
        place[1]: "" if old is None else old for place, old in changed.items() if _is_setting(place)
    }
    if settings:
        yield Step("lserver.set", {"name": key, "settings": settings})
    if "description" in names:
        yield Step("lserver.edit", {"name": key, "description": before["description"]})
    if "signup" in names:
        yield Step("lserver.signup", {"name": key, "signup": before["signup"]})


def _address(key: str, before: Kept, after: Kept, changed: Changed) -> Iterator[Step]:
    fields: dict[str, Any] = {"ip": key, "port": after["port"]}
    names = {place[0] for place in changed}
    if "prefix" in names:
        fields["mask"] = str(before["prefix"])
    if "tag" in names:
        fields["tag"] = before["tag"]
    if "port" in names:
        fields["new_port"] = before["port"]
    yield Step("ip.edit", fields)


def _site(key: str, before: Kept, after: Kept, changed: Changed) -> Iterator[Step]:
    fields = {place[1]: old for place, old in changed.items() if _is_setting(place)}
    if ("certificate",) in changed:
        refuse_lost_certificate(key, before)
        fields["certificate"] = ""
    if fields:
        yield Step("site.set", {"name": key, **fields})


def _is_setting(place: tuple[str, ...]) -> bool:
    return place[0] == "settings" and len(place) == 2


def _cluster(key: str, before: Kept, after: Kept, changed: Changed) -> Iterator[Step]:
    yield Step("service.set", {place[0]: old for place, old in changed.items()})


_CHANGES: Mapping[str, Callable[[str, Kept, Kept, Changed], Iterator[Step]]] = {
    "box": _box,
    "logical_server": _server,
    "ip_address": _address,
    "site": _site,
    "cluster": _cluster,
}


def refuse_lost_certificate(domain: str, site: Kept) -> None:
    """Refuse to bring a certificate back: nobody has its key any more."""
    if site["certificate"] is not None:
        raise CommandError(
            "undo.secret-gone",
            f"the certificate that the site of {domain} had, and its key, were forgotten",
            field="id",
            value=domain,
            allowed=f"hsctl site set {domain} with the certificate and its key again",
            status=409,
        )


@attrs.frozen
class WriteBack:
    """Takes an effect back; ``commands`` are the doors, ``clock`` gives seconds (epoch)."""

    commands: Registry
    addresses: SiteAddresses
    clock: Callable[[], float]

    async def write(self, work: Work, effect: Effect) -> list[str]:
        """Write back what was before, the last first; give the warnings. Raises `CommandError`."""
        warnings: list[str] = []
        whole = {thing.key for thing in effect if thing.relation == "domain"}
        zones: set[str] = set()
        for thing, turn in reversed(list(effect.items())):
            zone = thing.key.partition(" ")[0]
            if thing.relation in ("zone", "site", "record") and zone in whole:
                continue  # it comes and goes with its domain
            if thing.relation == "record":
                if zone not in zones:
                    zones.add(zone)
                    await self._records(work, zone, effect)
                continue
            if thing.relation == "site":
                await self._site_address(work, thing.key, turn)
            if turn.after is None and turn.before is not None:
                await self._return(work, thing, turn.before, effect)
            for step in steps_back(thing, turn):
                warnings += await self._run(work, step)
        return warnings

    async def _run(self, work: Work, step: Step) -> list[str]:
        command = self.commands[step.command]
        try:
            request = msgspec.convert(dict(step.fields), command.request)
        except msgspec.ValidationError as error:
            raise not_kept(str(error)) from error
        told = await command.function(work, request)
        return [str(words) for words in told.get("warnings", ())]

    async def _return(self, work: Work, thing: Thing, before: Kept, effect: Effect) -> None:
        """Bring back what was deleted and no command makes just so."""
        if thing.relation == "account":
            await accounts.restore(work, before["id"], thing.key)
        elif thing.relation == "domain":
            await bring_back(work, _kept_domain(thing.key, before, effect), self.clock)

    async def _site_address(self, work: Work, name: str, turn: Turn) -> None:
        """Give the site the very address that it had."""
        if turn.before is not None and ("address",) in turn.difference:
            before = turn.before
            await self.addresses.bring_back(work, name, before["address"], before["dedicated"])

    async def _records(self, work: Work, name: str, effect: Effect) -> None:
        """Give a zone the records that it had; what it has beside them stays."""
        zone = await zone_of_domain(work.tx, zone_name(name), lock=True)
        wanted = {(row.name, row.type, row.data): row for row in zone.records}
        touched: defaultdict[Rrset, list[RecordRow]] = defaultdict(list)
        for thing, turn in effect.items():
            zone_of, *place = thing.key.split(" ")
            if thing.relation != "record" or zone_of != name:
                continue
            key = (place[0], place[1], thing.part)
            wanted.pop(key, None)
            if turn.before is not None:
                wanted[key] = _record(thing, turn.before)
        for row in wanted.values():
            touched[Rrset(row.name, row.type)].append(row)
        changed = {Rrset(*thing.key.split(" ")[1:]) for thing in effect if _in(thing, name)}
        after = attrs.evolve(zone, records=tuple(wanted.values()))
        for rrset in sorted(changed & touched.keys()):
            _check(after, rrset, touched[rrset])
        await rewrite_zone(work, zone, wanted.values(), now=int(self.clock()))


def _in(thing: Thing, zone: str) -> bool:
    return thing.relation == "record" and thing.key.startswith(f"{zone} ")


def _check(zone: Zone, rrset: Rrset, rows: list[RecordRow]) -> None:
    """Hold what a zone would have against the rules of records that commands keep."""
    checked_beside(zone, rrset, len(rows))
    ttls = sorted({row.ttl for row in rows})
    if len(ttls) > 1:
        raise CommandError(
            "record.ttl.differs",
            f"the records of {rrset.name} {rrset.type} would have the TTLs "
            f"{', '.join(map(str, ttls))}, and all of one name and type share it "
            "(RFC 2181 section 5.2)",
            field="ttl",
            value=str(ttls[0]),
            allowed="hsctl record set gives all of them one",
            status=409,
        )


def _record(thing: Thing, kept: Kept) -> RecordRow:
    _, name, type_ = thing.key.split(" ")
    return RecordRow(name, type_, thing.part, kept["ttl"], kept["generated"])


def _kept_domain(name: str, domain: Kept, effect: Effect) -> KeptDomain:
    """Put together what the deletion of a domain kept of it."""
    zone = _before(effect, Thing("zone", name))
    site = _before(effect, Thing("site", name))
    refuse_lost_certificate(name, site)
    settings = msgspec.convert(site["settings"], SiteSettings)
    return KeptDomain(
        id=domain["id"],
        name=name,
        account=domain["account"],
        serial=zone["serial"],
        ttl=zone["ttl"],
        contact=zone["contact"],
        servers=tuple((server, role) for server, role in zone["servers"]),
        records=tuple(
            _record(thing, turn.before)
            for thing, turn in effect.items()
            if _in(thing, name) and turn.before is not None
        ),
        site=KeptSite(
            id=site["id"],
            logical_server=site["logical_server"],
            address=site["address"],
            dedicated=site["dedicated"],
            alias=site.get("alias", ""),
            settings=None if settings == SiteSettings() else site["settings"],
        ),
    )


def _before(effect: Effect, thing: Thing) -> Kept:
    turn = effect.get(thing)
    if turn is None or turn.before is None:
        raise not_kept(str(thing))
    return turn.before
