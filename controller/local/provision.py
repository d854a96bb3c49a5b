"""Filling a new local cluster by the same doors that an operator uses: API and enrolment.

Every step looks first whether it was done, so a first start that was interrupted goes on.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from controller.client.client import Client
from controller.client.errors import RefusedError
from controller.local import processes
from controller.local.layout import ClusterPlan, Layout, LocalBox
from controller.local.programs import apache_modules, daemon_users
from controller.local.supervisor import Say, StartError

_ENROL_SECONDS = 60


def write_agent_config(
    layout: Layout, plan: ClusterPlan, box: LocalBox, programs: dict[str, str]
) -> None:
    """Write one box's agent.toml and grants: a state directory of its own, daemons run directly."""
    path = layout.agent_config(box.name)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    tables: dict[str, dict[str, str]] = {"programs": programs, "users": daemon_users()}
    if (modules := apache_modules()) is not None:
        tables["modules"] = {"apache2": modules}
    lines = [
        f"state = {json.dumps(str(path.parent / 'state'))}",
        f"controller = [{json.dumps(str(plan.agents))}]",
        'services = "direct"',
        f"log = {json.dumps(str(layout.log_of(f'agent-{box.name}')))}",
    ]
    path.write_text("\n".join(lines) + "\n")
    granted = ['directories = ["/home"]', ""]
    for name, table in tables.items():
        granted += [
            f"[{name}]",
            *(f"{key} = {json.dumps(table[key])}" for key in sorted(table)),
            "",
        ]
    layout.grants(box.name).write_text("\n".join(granted))
    # Whatever the umask: the agent takes no file that others may write.
    for made in (path, layout.grants(box.name)):
        made.chmod(0o644)


def _exists(client: Client, command: str, name: str) -> bool:
    try:
        client.read(command, {"name": name})
    except RefusedError:
        return False
    return True


def add_box(client: Client, plan: ClusterPlan, layout: Layout, box: LocalBox) -> None:
    """Put the box into the model and enrol its agent with the one-time token."""
    enrolled = (layout.boxes / box.name / "state" / "certificate.pem").exists()
    if _exists(client, "pserver.show", box.name):
        if enrolled:
            return
        answer = client.write("pserver.enroll", {"name": box.name}).result
    else:
        answer = client.write(
            "pserver.add",
            {
                "name": box.name,
                "ip": box.endpoint.address,
                "mask": "32",
                "groups": [box.group],
            },
        ).result
    _enrol(layout.agent_config(box.name), plan, answer)


def _enrol(config: Path, plan: ClusterPlan, invitation: dict[str, Any]) -> None:
    finished = subprocess.run(
        [
            sys.executable,
            "-I",
            "-m",
            "node_agent.main",
            "enrol",
            "--config",
            str(config),
            "--controller",
            str(plan.enrolment),
            "-",
        ],
        # Not in the arguments, which every user of the machine can read.
        input=f"{invitation['token']}\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=_ENROL_SECONDS,
        env=processes.own_environment(),
        start_new_session=True,  # a Ctrl-C must reach the supervisor only
    )
    if finished.returncode:
        raise StartError("an agent could not enrol", finished.stderr.strip())


def add_logical_server(client: Client, plan: ClusterPlan, box: LocalBox) -> str:
    """Put the box's logical server and its address into the model; give its name."""
    name = f"{box.name}.{plan.service_domain}"
    if not _exists(client, "lserver.show", name):
        ports = {"control_port": box.control_port, "tls_port": box.tls_port}
        client.write(
            "lserver.add",
            {
                "name": name,
                "group": box.group,
                "type": box.service_type,
                "pserver": box.name,
                "description": "made by hsctl local up",
                "settings": {name: port for name, port in ports.items() if port is not None},
            },
        )
    if not client.read("ip.list", {"lserver": name})["items"]:
        client.write(
            "ip.add",
            {
                "lserver": name,
                "first": box.endpoint.address,
                "mask": "32",
                "type": "service" if box.group == "dns" else "shared",
                "port": box.endpoint.port,
            },
        )
    if not client.read("lserver.show", {"name": name})["signup"]:
        client.write("lserver.signup", {"name": name, "signup": True})
    return name


def provision(
    client: Client,
    plan: ClusterPlan,
    layout: Layout,
    programs: dict[str, str],
    say: Say,
    *,
    wanted: Callable[[], None],
) -> None:
    """Make the three boxes and their logical servers, where they are missing.

    ``wanted`` is called before each box, and raises when the cluster shall not come up after all.
    """
    for box in plan.boxes:
        wanted()
        say(f"adding {box.name}: {box.service_type} on {box.endpoint}")
        write_agent_config(layout, plan, box, programs)
        add_box(client, plan, layout, box)
        add_logical_server(client, plan, box)
    (layout.root / "provisioned").touch()
