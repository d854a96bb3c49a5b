"""``hsctl pserver``: the boxes."""

from collections.abc import Mapping
from typing import Any

import click

from controller.hsctl import views
from controller.hsctl.verbs import deletes, reads, writes

_COLUMNS = ("name", "ip", "groups", "intent", "condition", "logical_servers", "last_seen_at")


@click.group()
def pserver() -> None:
    """Physical servers: the boxes that agents run on.

    \b
    hsctl pserver add web2 --ip 192.0.2.20 --mask 255.255.255.0 --groups web
    hsctl pserver list
    """


@pserver.command()
@click.argument("name")
@click.option("--ip", required=True, metavar="ADDRESS", help="Its primary address.")
@click.option("--mask", required=True, metavar="MASK", help="255.255.255.0, or a prefix: 24.")
@click.option("--groups", required=True, metavar="G,G", help="Server groups: web,dns ...")
@click.option(
    "--os",
    "os_family",
    type=click.Choice(["linux", "freebsd", "windows"]),
    default="linux",
    show_default=True,
)
@writes("pserver.add", "box {name} added", view=views.invitation)
def add(name: str, ip: str, mask: str, groups: str, os_family: str) -> Mapping[str, Any]:
    """Add a box, and print the one line to run on it.

    \b
    hsctl pserver add ns3 --ip 192.0.2.53 --mask 24 --groups dns
    """
    return {
        "name": name,
        "ip": ip,
        "mask": mask,
        "groups": [group.strip() for group in groups.split(",")],
        "os_family": os_family,
    }


@pserver.command("list")
@click.option("--filter", "text", metavar="TEXT", help="Only names that contain this.")
@reads("pserver.list", columns=_COLUMNS, paged=True, empty="no boxes: hsctl pserver add")
def list_boxes(text: str | None) -> Mapping[str, Any]:
    """List the boxes with their intent and condition.

    \b
    hsctl pserver list
    hsctl pserver list -o json | jq -r '.[].name'
    """
    return {"filter": text}


@pserver.command()
@click.argument("name")
@reads("pserver.show", view=views.box)
def show(name: str) -> Mapping[str, Any]:
    """Show a box.

    \b
    hsctl pserver show web1
    """
    return {"name": name}


@pserver.command()
@click.argument("name")
@reads("pserver.sysinfo", view=views.system)
def sysinfo(name: str) -> Mapping[str, Any]:
    """Show what a box last told of itself: system, load, memory, disks, addresses, services.

    \b
    hsctl pserver sysinfo web1
    """
    return {"name": name}


@pserver.command()
@click.argument("name")
@writes("pserver.enroll", "box {name} invited to enrol", view=views.invitation)
def enroll(name: str) -> Mapping[str, Any]:
    """Print a new enrolment line: for a new machine, or after the certificate expired.

    The box keeps all that it serves.

    \b
    hsctl pserver enroll web1
    """
    return {"name": name}


@pserver.command()
@click.argument("name")
@deletes("pserver.delete", "box {name}", also="its certificates are revoked")
def delete(name: str) -> Mapping[str, Any]:
    """Delete a box that has no logical servers left.

    \b
    hsctl pserver delete web2
    """
    return {"name": name}
