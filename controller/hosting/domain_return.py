"""Bringing a deleted domain back as its change kept it: the same ids, servers and records.

A site's directory is named by the site's id, so the site finds its files where they stayed.
"""

import json
from collections.abc import Callable, Iterable, Sequence

import attrs

from controller import names
from controller.cluster.addresses.rows import ANSWERED
from controller.commands import Work
from controller.hosting.accounts import find_account
from controller.hosting.domain_rows import project_new_site
from controller.hosting.generated_records import generated_records, system_records
from controller.hosting.instant_access import free_aliases
from controller.hosting.names_below import follow
from controller.hosting.ownership import check_free
from controller.hosting.zones import create_zone
from controller.projection.zones import NameServer, RecordRow, ZoneRow, second_endpoint
from controller.refusal import CommandError
from controller.serials import next_serial
from templates.apache.objects import DEDICATED, AddressSpec
from templates.service_type import Endpoint


@attrs.frozen
class KeptSite:
    """A site as its deletion kept it; ``settings`` None for a plain one."""

    id: int
    logical_server: str
    address: str
    dedicated: bool
    alias: str
    """The label before the service domain by which it answered too, or nothing."""
    settings: dict[str, object] | None


@attrs.frozen
class KeptDomain:
    """A domain as its deletion kept it; ``servers`` pairs names with roles."""

    id: int
    name: str
    account: str
    serial: int
    ttl: int
    contact: str
    servers: tuple[tuple[str, str], ...]
    records: tuple[RecordRow, ...]
    site: KeptSite


@attrs.frozen
class _Place:
    server: str
    address_id: int
    address: str
    prefix: int
    port: int


_NAME_SERVERS = """
SELECT s.name, s.id::text, host(i.address), i.port, host(m.address), m.port
FROM logical_server s JOIN ip_address i ON i.logical_server_id = s.id AND i.type = 'service'
LEFT JOIN ip_address m ON m.logical_server_id = s.id AND m.type = 'moving'
WHERE s.group_name = 'dns' AND s.name = ANY(%s)
"""

_PLACE = f"""
SELECT s.id::text, i.id, host(i.address), i.prefix, i.port
FROM ip_address i JOIN logical_server s ON s.id = i.logical_server_id
WHERE s.name = %s AND i.address = %s::inet AND i.type = %s AND i.site_id IS NULL
AND {ANSWERED}
FOR NO KEY UPDATE OF i
"""  # noqa: S608 put together of constants


async def bring_back(work: Work, kept: KeptDomain, clock: Callable[[], float]) -> None:
    """Make the domain, its zone and its site anew as they were; the serial only grows.

    Raises `CommandError`: where the name, a server or the address is not to be had any more.
    """
    account, account_shown = await find_account(work.tx, kept.account)
    await check_free(work.tx, kept.name, account)
    servers = await _name_servers(work, kept)
    place = await _place(work, kept)
    _check_system_records(kept, servers, place.address)
    if kept.site.alias and kept.site.alias not in await free_aliases(work.tx, [kept.site.alias]):
        raise _not_to_be_had(f"its alias {kept.site.alias} is somebody else's now", kept.name)
    await work.tx.run(
        """WITH made AS (
               INSERT INTO domain (id, owner_id, name, reversed) OVERRIDING SYSTEM VALUE
               VALUES (%s, %s, %s, %s) RETURNING id, owner_id
           ) INSERT INTO site (id, owner_id, domain_id, logical_server_id, ip_address_id, settings,
                               alias)
           OVERRIDING SYSTEM VALUE
           SELECT %s, owner_id, id, %s, %s, %s::jsonb, nullif(%s, '') FROM made""",
        (
            kept.id,
            account,
            kept.name,
            names.reversed_name(kept.name),
            kept.site.id,
            place.server,
            place.address_id,
            None if kept.site.settings is None else json.dumps(kept.site.settings),
            kept.site.alias,
        ),
    )
    if kept.site.dedicated:
        await work.tx.run(
            "UPDATE ip_address SET site_id = %s WHERE id = %s", (kept.site.id, place.address_id)
        )
        spec = AddressSpec(prefix=place.prefix, port=place.port)
        await work.change.upsert(place.server, DEDICATED, place.address, spec, owner_id=account)
    serial = next_serial(kept.serial, int(clock()))
    await create_zone(
        work,
        ZoneRow(0, kept.name, serial, kept.ttl, kept.contact, account),
        domain=kept.name,
        servers=servers,
        records=kept.records,
    )
    await project_new_site(work, kept.name, account_shown)
    await follow(work, [kept.name], now=int(clock()))


async def _name_servers(work: Work, kept: KeptDomain) -> tuple[NameServer, ...]:
    found = await work.tx.rows(_NAME_SERVERS, ([name for name, _ in kept.servers],))
    known = {
        name: NameServer(
            server,
            name,
            Endpoint(address=address, port=port),
            "secondary",
            second_endpoint(beside, beside_port),
        )
        for name, server, address, port, beside, beside_port in found
    }
    gone = [name for name, _ in kept.servers if name not in known]
    if gone:
        raise _not_to_be_had(f"{', '.join(gone)} serves no zones any more", kept.name)
    return tuple(attrs.evolve(known[name], role=role) for name, role in kept.servers)


async def _place(work: Work, kept: KeptDomain) -> _Place:
    site = kept.site
    type_ = "dedicated" if site.dedicated else "shared"
    row = await work.tx.maybe(_PLACE, (site.logical_server, site.address, type_))
    if row is None:
        raise _not_to_be_had(
            f"{site.logical_server} has no {type_} address {site.address} free any more", kept.name
        )
    return _Place(*row)


def _check_system_records(kept: KeptDomain, servers: Sequence[NameServer], address: str) -> None:
    """See that the records that the system keeps would be the same today.

    Their time to live may be another one: records of one name and type share it.
    """
    kept_by_system = _values(system_records(kept.name, tuple(servers)))
    possible = _values(generated_records(kept.name, tuple(servers), address))
    had = _values(record for record in kept.records if record.generated)
    if not kept_by_system <= had <= possible:
        raise _not_to_be_had("its name servers have other addresses now", kept.name)


def _values(records: Iterable[RecordRow]) -> set[tuple[str, str, str]]:
    return {(record.name, record.type, record.data) for record in records}


def _not_to_be_had(words: str, name: str) -> CommandError:
    return CommandError(
        "undo.place-gone",
        words,
        field="id",
        value=name,
        allowed=f"hsctl domain add {name}, on the servers that there are now",
        status=409,
    )
