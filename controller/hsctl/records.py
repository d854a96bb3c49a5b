"""``hsctl record``: the records of zones."""

from collections.abc import Mapping, Sequence
from typing import Any

import click

from controller.hsctl import views
from controller.hsctl.verbs import deletes, reads, writes

_PARTS = {"MX": 2, "CAA": 3, "SRV": 4}
"""Types whose value has several words, which may be given without quotes."""


@click.group()
def record() -> None:
    """Records in the zones of domains. Names are relative; @ is the domain itself.

    \b
    hsctl record add shop.test www2 A 192.0.2.7
    hsctl record set shop.test @ MX 10 mail.shop.test.
    hsctl record delete shop.test www2
    """


def joined(type: str, values: Sequence[str]) -> list[str]:
    """Give the values of records: the words of one MX, CAA or SRV may come apart."""
    words = _PARTS.get(type.upper())
    if words == len(values) and not any(" " in value for value in values):
        return [" ".join(values)]
    return list(values)


_ttl = click.option("--ttl", type=int, metavar="SECONDS", help="Time to live; the zone's else.")


@record.command()
@click.argument("domain")
@click.argument("name")
@click.argument("type")
@click.argument("values", nargs=-1, required=True)
@_ttl
@writes("record.add", "{type} added to {name} in {domain}", view=views.records)
def add(
    domain: str, name: str, type: str, values: tuple[str, ...], ttl: int | None
) -> Mapping[str, Any]:
    """Add records to those that are there; print them as stored.

    \b
    hsctl record add shop.test www2 A 192.0.2.7 192.0.2.8
    hsctl record add shop.test @ TXT "v=spf1 mx -all" --ttl 300
    hsctl record add shop.test _sip._tcp SRV 10 5 5060 sip.shop.test.
    """
    return {
        "domain": domain,
        "name": name,
        "type": type,
        "values": joined(type, values),
        "ttl": ttl,
    }


@record.command("set")
@click.argument("domain")
@click.argument("name")
@click.argument("type")
@click.argument("values", nargs=-1, required=True)
@_ttl
@writes("record.set", "{type} of {name} in {domain} set", view=views.records)
def set_records(
    domain: str, name: str, type: str, values: tuple[str, ...], ttl: int | None
) -> Mapping[str, Any]:
    """Replace all records of one name and type.

    \b
    hsctl record set shop.test www A 192.0.2.9
    """
    return {
        "domain": domain,
        "name": name,
        "type": type,
        "values": joined(type, values),
        "ttl": ttl,
    }


@record.command("list")
@click.argument("domain")
@click.option("--name", metavar="NAME", help="Only records of this name.")
@click.option("--type", "type_", metavar="TYPE", help="Only records of this type.")
@reads(
    "record.list",
    columns=("name", "ttl", "type", "data", "generated"),
    paged=True,
    empty="no records fit",
)
def list_records(domain: str, name: str | None, type_: str | None) -> Mapping[str, Any]:
    """List the records of a domain's zone.

    \b
    hsctl record list shop.test --type A
    """
    return {"domain": domain, "name": name, "type": type_}


@record.command()
@click.argument("domain")
@click.argument("name")
@click.argument("type", required=False)
@click.argument("values", nargs=-1)
@deletes("record.delete", "records of {name} in {domain}", view=views.records)
def delete(domain: str, name: str, type: str | None, values: tuple[str, ...]) -> Mapping[str, Any]:
    """Delete records. Where several could be meant, say the type, then the value.

    \b
    hsctl record delete shop.test www2
    hsctl record delete shop.test www2 A 192.0.2.8 --yes
    """
    return {
        "domain": domain,
        "name": name,
        "type": type,
        "values": joined(type or "", values),
    }
