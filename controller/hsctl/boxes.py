"""``hsctl pserver``: the boxes."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from controller.hsctl import box_services, views
from controller.hsctl.enrolling import follow_enrolment, password_for
from controller.hsctl.verbs import Function, deletes, reads, writes

_COLUMNS = ("name", "ip", "groups", "intent", "condition", "logical_servers", "last_seen_at")


_SYSTEMS = click.Choice(["linux", "freebsd", "windows"])


def _groups(*, required: bool) -> Callable[[Function], Function]:
    return click.option(
        "--groups",
        "--group",
        "groups",
        multiple=True,
        required=required,
        metavar="G,G",
        help="Server groups: web,dns ... or one after the other.",
    )


def _listed(given: tuple[str, ...]) -> list[str]:
    return [group.strip() for text in given for group in text.split(",")]


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
@_groups(required=True)
@click.option("--os", "os_family", type=_SYSTEMS, default="linux", show_default=True)
@click.option("--description", default="", metavar="TEXT", help="What it is, in one line.")
@writes("pserver.add", "box {name} added", view=views.invitation)
def add(
    *, name: str, ip: str, mask: str, groups: tuple[str, ...], os_family: str, description: str
) -> Mapping[str, Any]:
    """Add a box, and print the lines to run on it: for Windows in PowerShell.

    \b
    hsctl pserver add ns3 --ip 192.0.2.53 --mask 24 --groups dns
    hsctl pserver add db1 --ip 2001:db8::7 --mask 64 --group mysql
    """
    return {
        "name": name,
        "ip": ip,
        "mask": mask,
        "groups": _listed(groups),
        "os_family": os_family,
        "description": description,
    }


@pserver.command()
@click.argument("name")
@click.option("--ip", metavar="ADDRESS", help="Its primary address.")
@click.option("--mask", metavar="MASK", help="255.255.255.0, or a prefix: 24.")
@_groups(required=False)
@click.option("--os", "os_family", type=_SYSTEMS)
@click.option("--description", metavar="TEXT", help="What it is, in one line.")
@writes("pserver.edit", "box {name} changed", view=views.changed)
def edit(
    *,
    name: str,
    ip: str | None,
    mask: str | None,
    groups: tuple[str, ...],
    os_family: str | None,
    description: str | None,
) -> Mapping[str, Any]:
    """Change fields of a box; what is not named stays. Groups given replace all of them.

    \b
    hsctl pserver edit web1 --group web --group mysql
    hsctl pserver edit ns1 --ip 192.0.2.54
    """
    fields = {
        "name": name,
        "ip": ip,
        "mask": mask,
        "groups": _listed(groups) or None,
        "os_family": os_family,
        "description": description,
    }
    return {field: value for field, value in fields.items() if value is not None}


@pserver.command()
@click.argument("name")
@click.argument("intent", type=click.Choice(["open", "no-signup", "draining", "maintenance"]))
@writes("pserver.intent", "{name} is wanted {intent}")
def intent(name: str, intent: str) -> Mapping[str, Any]:
    """Say what is wanted of a box.

    \b
    open         new sites, zones and logical servers may be placed on it
    no-signup    no new customer is placed on it; what is there is served and changed
    draining     nothing new is placed on it; what is left is listed, nothing moves by itself
    maintenance  changes wait until it is over, and its alarms are mute; daemons serve on

    \b
    hsctl pserver intent web1 maintenance
    """
    return {"name": name, "intent": intent}


@pserver.command()
@click.argument("name")
@click.argument("state", type=click.Choice(["on", "off"]))
@writes("pserver.monitoring", "monitoring of {name} switched {state}")
def monitoring(name: str, state: str) -> Mapping[str, Any]:
    """Switch the monitoring of a box on or off, to save its resources.

    \b
    hsctl pserver monitoring web1 off
    """
    return {"name": name, "monitoring": state == "on"}


@pserver.command("list")
@click.option("--filter", "text", metavar="TEXT", help="Only names that contain this.")
@click.option("--group", metavar="GROUP", help="Only boxes with this server group.")
@reads("pserver.list", columns=_COLUMNS, paged=True, empty="no boxes: hsctl pserver add")
def list_boxes(text: str | None, group: str | None) -> Mapping[str, Any]:
    """List the boxes with their intent and condition.

    \b
    hsctl pserver list
    hsctl pserver list --group dns
    hsctl pserver list -o json | jq -r '.[].name'
    """
    return {"filter": text, "group": group}


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
@click.option("--ssh", default="", metavar="USER@HOST", help="Log in there and take all steps.")
@click.option("--port", default=22, show_default=True, metavar="N", help="The SSH server's port.")
@click.option("--host-key", default="", metavar="SHA256:...", help="The host key it must show.")
@click.option("--anew", is_flag=True, help="Also where an agent is enrolled already.")
@click.option("--password-stdin", is_flag=True, help="Read the password; it is asked for else.")
@writes(
    "pserver.enroll",
    "box {name} invited to enrol",
    view=views.invitation,
    then=follow_enrolment,
)
def enroll(
    *, name: str, ssh: str, port: int, host_key: str, anew: bool, password_stdin: bool
) -> Mapping[str, Any]:
    """Enrol a box: for the first time, set up anew, or after its certificate expired.

    Prints a new line to run on it. With --ssh the controller logs in with a password, which is used
    once and stored nowhere, installs the agent where it is missing, enrols the box and starts it.
    The host key must be known: what the box shows is printed, to be compared and confirmed.

    The box keeps all that it serves. For Windows the line is for PowerShell, as Administrator.

    \b
    hsctl pserver enroll web1
    hsctl pserver enroll web1 --ssh root@192.0.2.7
    """
    if not ssh:
        return {"name": name}
    fields = {"name": name, "ssh": ssh, "port": port, "host_key": host_key, "anew": anew}
    return {**fields, "password": password_for(ssh, stdin=password_stdin)}


@pserver.command()
@click.argument("name")
@reads("pserver.enrolment", view=views.enrolment)
def enrolment(name: str) -> Mapping[str, Any]:
    """Show how far the last enrolment of a box over SSH is, step by step.

    \b
    hsctl pserver enrolment web1
    """
    return {"name": name}


@pserver.command()
@click.argument("name")
@click.option("--box-is-gone", is_flag=True, help="It is gone for good, and will not come back.")
@writes("pserver.retire", "box {name} retired", view=views.retired)
def retire(name: str, box_is_gone: bool) -> Mapping[str, Any]:
    """Retire a box that is gone for good: shut out at once.

    Says what was on it, and on which boxes each logical server could be placed anew. All of it
    stays until it is moved or deleted. A box that comes back wants maintenance instead.

    \b
    hsctl pserver retire web2 --box-is-gone
    """
    return {"name": name, "box_is_gone": box_is_gone}


@pserver.command()
@click.argument("name")
@deletes("pserver.delete", "box {name}", also="its certificates are revoked")
def delete(name: str) -> Mapping[str, Any]:
    """Delete a box that has no logical servers left.

    \b
    hsctl pserver delete web2
    """
    return {"name": name}


for _verb in box_services.VERBS:
    pserver.add_command(_verb)
