"""``hsctl local``: a whole cluster on this machine."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.hsctl import exit_codes
from controller.hsctl.errors import HsctlError, RefusedError, UsageError

if TYPE_CHECKING:
    from controller.local.layout import ClusterPlan, Layout

_READY = "\x04"
"""Begins the last line that a detached supervisor sends to the command that started it: the banner
as JSON. What comes before are lines of progress."""
_STOP_SECONDS = 60.0

_dir_option = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="State directory; several clusters run side by side in several directories.",
)


@click.group()
def local() -> None:
    """Run a whole cluster on this machine: two name servers, a web server, a controller.

    \b
    hsctl local up --detach
    hsctl local status
    hsctl local down
    """


@local.command()
@_dir_option
@click.option("--detach", is_flag=True, help="Return when the cluster is up; it goes on running.")
@click.option("--progress-fd", type=int, hidden=True)
def up(folder: Path | None, detach: bool, progress_fd: int | None) -> None:
    """Bring the cluster up: the first time it is made, later what was is started again.

    \b
    hsctl local up             # Ctrl-C stops it
    hsctl local up --detach    # hsctl local down stops it
    """
    if _show_running(folder):
        return
    if detach:
        _detach(_layout(folder))
        return
    if progress_fd is None:
        _run(folder, lambda line: click.echo(f"  {line}", err=True), click.echo)
        return
    channel = os.fdopen(progress_fd, "w", buffering=1)
    _run(
        folder,
        lambda line: _tell(channel, line),
        lambda text: _tell(channel, _READY + json.dumps(text)),
    )


@local.command()
@_dir_option
def down(folder: Path | None) -> None:
    """Stop the cluster; its state stays."""
    layout = _layout(folder)
    if not layout.root.exists():
        click.echo(f"hsctl: there is no cluster in {layout.root}", err=True)
        return
    _stop(layout)
    click.echo("stopped", err=True)


@local.command()
@_dir_option
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table")
def status(folder: Path | None, output: str) -> None:
    """Show the panel, and every logical server's name, type, address and port.

    \b
    hsctl local status -o json
    """
    from controller.local.supervisor import running  # noqa: PLC0415

    layout = _layout(folder)
    plan = layout.read_plan()
    is_up = layout.root.exists() and running(layout) is not None
    answer = _described(layout, plan, is_up)
    if output == "json":
        click.echo(json.dumps(answer, indent=2))
    elif plan is None:
        click.echo(f"There is no cluster in {layout.root}: make one with `hsctl local up`.")
    else:
        click.echo(f"{'up' if is_up else 'down'}    panel {answer['panel']}    {layout.root}")
        for server in answer["logical_servers"]:
            click.echo(
                f"{server['name']:<28} {server['type']:<8} {server['address']}:{server['port']}"
            )
    if not is_up:
        sys.exit(exit_codes.UNREACHABLE)


@local.command()
@_dir_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def reset(folder: Path | None, yes: bool) -> None:
    """Stop the cluster and remove it with all its state."""
    from controller.local.cluster import remove  # noqa: PLC0415

    layout = _layout(folder)
    if not layout.root.exists():
        click.echo(f"hsctl: there is no cluster in {layout.root}", err=True)
        return
    if layout.read_plan() is None and not layout.lock.exists():
        raise RefusedError(f"{layout.root} does not hold a local cluster: not touched")
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("reset removes the cluster with all its state: say --yes")
        click.confirm(f"Remove the cluster in {layout.root} with all its state?", abort=True)
    _stop(layout)
    remove(layout, _profile(layout))
    click.echo(f"removed {layout.root}", err=True)


def _layout(folder: Path | None) -> "Layout":
    from controller.local.layout import Layout, default_root  # noqa: PLC0415

    return Layout((folder or default_root()).absolute())


def _profile(layout: "Layout") -> str:
    from controller.local.cluster import profile_name  # noqa: PLC0415
    from controller.local.layout import default_root  # noqa: PLC0415

    return profile_name(layout, default_root())


def _run(folder: Path | None, say: Any, show: Any) -> None:
    """Be the supervisor until a signal ends it."""
    from controller.local.banner import banner  # noqa: PLC0415
    from controller.local.cluster import LocalCluster  # noqa: PLC0415

    layout = _layout(folder)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    cluster = LocalCluster(layout, _profile(layout), say)

    def ready(plan: "ClusterPlan", notes: list[str]) -> None:
        show(banner(plan, layout, notes, program=_program(cluster.profile)))

    with _told(say):
        cluster.run(ready=ready, stop=stopping.is_set)


def _show_running(folder: Path | None) -> bool:
    """Show the banner of a cluster that is up already; tell whether it is."""
    from controller.local import places  # noqa: PLC0415
    from controller.local.banner import banner  # noqa: PLC0415
    from controller.local.supervisor import running  # noqa: PLC0415

    layout = _layout(folder)
    plan = layout.read_plan()
    if not layout.root.exists() or running(layout) is None:
        return False
    if plan is None or not (layout.controller / "ready").exists():
        raise RefusedError("the cluster is just being started by another hsctl")
    click.echo("the cluster is up already", err=True)
    click.echo(banner(plan, layout, places.moved(plan), program=_program(_profile(layout))))
    return True


def _program(profile: str) -> str:
    """Write `hsctl` as it must be typed for the new cluster, from where the caller stands."""
    import shutil  # noqa: PLC0415

    from controller.hsctl import profiles  # noqa: PLC0415

    name = "hsctl"
    if shutil.which("hsctl") is None:
        script = Path(sys.executable).with_name("hsctl")
        name = str(script)
    if profiles.load().default != profile:
        name += f" --profile {profile}"
    return name


def _detach(layout: "Layout") -> None:
    """Start the supervisor in a session of its own and pass on its progress until it is ready."""
    layout.root.mkdir(parents=True, exist_ok=True, mode=0o755)
    reading, writing = os.pipe()
    with (layout.root / "supervisor.log").open("ab") as log:
        child = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "controller.hsctl.main",
                "local",
                "up",
                "--dir",
                str(layout.root),
                "--progress-fd",
                str(writing),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(writing,),
        )
    os.close(writing)
    with os.fdopen(reading) as progress:
        for line in progress:
            if line.startswith(_READY):
                click.echo(json.loads(line.removeprefix(_READY)))
                return
            click.echo(f"  {line.rstrip()}", err=True)
    child.wait()
    told = layout.root / "supervisor.log"
    words = told.read_text(errors="replace").splitlines()[-1:]
    raise RefusedError(f"{''.join(words).removeprefix('hsctl: ')} (more in {told})")


def _tell(channel: Any, text: str) -> None:
    """Send progress to whoever started us; nobody may be left to read it."""
    try:
        channel.write(f"{text}\n")
        channel.flush()
    except (BrokenPipeError, ValueError):
        return
    if text.startswith(_READY):
        channel.close()


def _stop(layout: "Layout") -> None:
    from controller.local import places  # noqa: PLC0415
    from controller.local.supervisor import end_leftovers, running  # noqa: PLC0415
    from controller.storage.embedded import EmbeddedPostgres  # noqa: PLC0415

    pid = running(layout)
    if pid:
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_SECONDS
        while running(layout) is not None:
            if time.monotonic() > deadline:
                raise HsctlError(f"the supervisor (process {pid}) does not end")
            time.sleep(0.05)
    end_leftovers(layout)
    EmbeddedPostgres(layout.postgres).stop()
    plan = layout.read_plan()
    if plan is not None:
        places.remove_loopback(plan.loopback)


def _described(layout: "Layout", plan: "ClusterPlan | None", is_up: bool) -> dict[str, Any]:
    if plan is None:
        return {"up": False, "directory": str(layout.root), "panel": None, "logical_servers": []}
    return {
        "up": is_up,
        "directory": str(layout.root),
        "panel": f"https://{plan.panel}/",
        "profile": _profile(layout),
        "logical_servers": [
            {
                "name": f"{box.name}.{plan.service_domain}",
                "type": box.service_type,
                "address": box.endpoint.address,
                "port": box.endpoint.port,
            }
            for box in plan.boxes
        ],
    }


class _told:  # noqa: N801 a context manager, named as it reads
    """Tell what a person can do something about in one line, after the last words of a log."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        from controller.local.places import NoPlaceError  # noqa: PLC0415
        from controller.local.programs import MissingProgramError  # noqa: PLC0415
        from controller.local.supervisor import AlreadyRunningError, StartError  # noqa: PLC0415
        from controller.storage.binaries import BinariesError  # noqa: PLC0415
        from controller.storage.embedded import EmbeddedPostgresError  # noqa: PLC0415

        if isinstance(error, AlreadyRunningError):
            raise RefusedError(f"the cluster is up already (process {error.args[0]})") from error
        if isinstance(error, MissingProgramError):
            raise RefusedError(f"BIND or Apache is missing: {error.args[0]}") from error
        if isinstance(error, StartError):
            for line in error.words.splitlines():
                self._say(line)
        if isinstance(error, StartError | NoPlaceError | BinariesError | EmbeddedPostgresError):
            raise RefusedError(str(error)) from error
