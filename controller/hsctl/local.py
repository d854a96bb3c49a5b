"""``hsctl local``: a whole cluster on this machine."""

import contextlib
import errno
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from controller.client import exit_codes
from controller.client.errors import HsctlError, RefusedError, UsageError
from controller.hsctl.terminal import print_json, print_record, say
from controller.hsctl.verbs import confirm, output_option

if TYPE_CHECKING:
    from controller.local.layout import ClusterPlan, Layout
    from controller.local.serving import Server
    from controller.local.supervisor import Holder

_READY = "\x04"
"""Begins the last line that a detached supervisor sends to the command that started it: the banner
as JSON. What comes before are lines of progress."""
_STOP_SECONDS = 60.0
_START_SECONDS = 240.0
_ASKED_SECONDS = 5.0
"""How long the controller may take to say where the servers are."""

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
    layout = _layout(folder)
    with _told(layout):
        if progress_fd is not None:
            channel = os.fdopen(progress_fd, "w", buffering=1)
            _run(
                layout,
                lambda line: _tell(channel, line),
                lambda text: _tell(channel, _READY + json.dumps(text)),
                detached=True,
            )
        elif _show_running(layout):
            return
        elif detach:
            layout.check_usable()
            _detach(layout)
        else:
            _run(layout, _say, click.echo)


@local.command()
@_dir_option
def down(folder: Path | None) -> None:
    """Stop the cluster; its state stays.

    \b
    hsctl local down
    """
    layout = _layout(folder)
    with _told(layout):
        if not _is_cluster(layout):
            say(f"there is no cluster in {layout.root}")
            return
        _stop(layout)
    say(f"stopped; its state stays in {layout.root}")


@local.command()
@_dir_option
@output_option
def status(folder: Path | None, output: str) -> None:
    """Show the panel, and every logical server's name, type, address and port.

    The exit code is 5 while the cluster is not up, also where its supervisor was killed and what it
    had started runs on: nothing is started again then when it dies.

    \b
    hsctl local status -o json
    """
    from controller.local.supervisor import running

    layout = _layout(folder)
    with _told(layout):
        plan = layout.read_plan()
        answer = _described(layout, plan, running(layout))
        answer |= _left(layout, plan) if answer.get("state") == "down" else {}
    if output == "json":
        print_json(answer)
    elif plan is None:
        say(f"there is no cluster in {layout.root}: hsctl local up makes one")
    else:
        print_record({name: value for name, value in answer.items() if name != "up"})
    if not answer["up"]:
        sys.exit(exit_codes.UNREACHABLE)


@local.command()
@_dir_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def reset(folder: Path | None, yes: bool) -> None:
    """Stop the cluster and remove it with all its state.

    \b
    hsctl local reset --yes
    """
    from controller.local.cluster import remove

    layout = _layout(folder)
    with _told(layout):
        if not layout.root.exists():
            say(f"there is no cluster in {layout.root}")
            return
        if not _is_cluster(layout):
            raise RefusedError(f"{layout.root} does not hold a local cluster: not touched")
        confirm(f"Remove the cluster in {layout.root} with all its state?", yes)
        _stop(layout)
        kept = remove(layout, _profile(layout))
    if kept:
        say(f"removed the cluster; {layout.root} stays, for it holds {', '.join(kept[:3])}")
    else:
        say(f"removed {layout.root}")


def _is_cluster(layout: "Layout") -> bool:
    """Whether a cluster, or the rest of one, is there."""
    return layout.read_plan() is not None or (layout.lock.exists() and not layout.foreign())


def _layout(folder: Path | None) -> "Layout":
    from controller.local.layout import Layout, default_root

    root = (folder or default_root()).absolute()
    try:
        str(root).encode()
    except UnicodeEncodeError:
        # Configuration files name it, and they are UTF-8.
        raise UsageError("the name of the state directory is not UTF-8") from None
    return Layout(root)


def _profile(layout: "Layout") -> str:
    from controller.local.cluster import profile_name
    from controller.local.layout import default_root

    return profile_name(layout, default_root())


def _say(line: str) -> None:
    """Tell a step to whoever started us; his terminal may be gone."""
    with contextlib.suppress(OSError):
        say(f"  {line}")


def _run(
    layout: "Layout",
    tell: Callable[[str], None],
    show: Callable[[str], None],
    *,
    detached: bool = False,
) -> None:
    """Be the supervisor until a signal ends it."""
    from controller.local.banner import banner
    from controller.local.cluster import LocalCluster
    from controller.local.supervisor import AlreadyRunningError, StartError

    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: stopping.set())
    cluster = LocalCluster(layout, _profile(layout), tell)

    def ready(plan: "ClusterPlan", notes: list[str]) -> None:
        show(banner(plan, layout, notes, program=_program(cluster.profile)))

    try:
        cluster.run(ready=ready, stop=stopping.is_set)
    except AlreadyRunningError:
        # Another one was first, since we looked. A detached start leaves it to the one who waits.
        if detached or not _show_running(layout):
            raise
    except StartError as error:
        for line in error.words.splitlines():
            tell(line)
        raise


def _show_running(layout: "Layout") -> bool:
    """Show the banner of a cluster that is up already; tell whether it is.

    One that another hsctl is just starting is waited for.
    """
    from controller.local import places
    from controller.local.banner import banner
    from controller.local.serving import followed
    from controller.local.supervisor import running

    holder = running(layout)
    if holder is not None and not holder.ready:
        say("another hsctl is just starting this cluster: waiting for it")
        deadline = time.monotonic() + _START_SECONDS
        while (holder := running(layout)) is not None and not holder.ready:
            if time.monotonic() > deadline:
                raise RefusedError("the start by another hsctl does not end")
            time.sleep(0.1)
    if holder is None:
        return False
    plan = layout.read_plan()
    if plan is None:
        raise RefusedError(f"{layout.plan} is missing: hsctl local reset removes the rest")
    plan = followed(plan, _servers(layout, plan, holder))
    say("the cluster is up already")
    click.echo(banner(plan, layout, places.moved(plan), program=_program(_profile(layout))))
    return True


def _program(profile: str) -> str:
    """Write `hsctl` as it must be typed for the new cluster, from where the caller stands."""
    import shutil

    from controller.client import profiles

    name = "hsctl"
    if shutil.which("hsctl") is None:
        script = Path(sys.executable).with_name("hsctl")
        in_checkout = script.parents[2] == Path.cwd()
        name = shlex.quote(str(script.relative_to(Path.cwd()) if in_checkout else script))
    if profiles.load().default != profile:
        name += f" --profile {profile}"
    return name


def _detach(layout: "Layout") -> None:
    """Start the supervisor in a session of its own and pass on its progress until it is ready."""
    layout.root.mkdir(parents=True, exist_ok=True, mode=0o755)
    reading, writing = os.pipe()
    with layout.log.open("ab") as log:
        child = subprocess.Popen(
            [
                sys.executable,
                "-I",  # nothing of the folder that it is typed in (S12)
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
    try:
        with os.fdopen(reading) as progress:
            for line in progress:
                if line.startswith(_READY):
                    click.echo(json.loads(line.removeprefix(_READY)))
                    return
                say(f"  {line.rstrip()}")
        child.wait()
    except KeyboardInterrupt:
        say("  stopping what was started; the next hsctl local up goes on from here")
        child.terminate()
        child.wait()
        raise
    if _show_running(layout):  # another one was first
        return
    if child.returncode == exit_codes.DONE:
        raise RefusedError("another hsctl stopped the cluster before it was up")
    words = layout.log.read_text(errors="replace").splitlines()
    last = words[-1].removeprefix("hsctl: ") if words else "the supervisor ended without a word"
    raise RefusedError(f"{last} (more in {layout.log})")


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
    """End the supervisor if one runs, and what a killed one left."""
    from controller.local import places
    from controller.local.supervisor import end_leftovers, running
    from controller.storage.embedded import EmbeddedPostgres

    deadline = time.monotonic() + _STOP_SECONDS
    told = None
    while (holder := running(layout)) is not None:
        if holder.pid is not None and holder.pid != told:
            os.kill(holder.pid, signal.SIGTERM)
            told = holder.pid
        if time.monotonic() > deadline:
            raise HsctlError(f"the supervisor (process {holder.pid}) does not end")
        time.sleep(0.05)
    end_leftovers(layout)
    EmbeddedPostgres(layout.postgres).stop()
    plan = layout.read_plan()
    if plan is not None:
        places.release_loopback(plan.loopback, places.label(layout.root))


def _described(
    layout: "Layout", plan: "ClusterPlan | None", holder: "Holder | None"
) -> dict[str, Any]:
    if plan is None:
        return {"up": False, "directory": str(layout.root), "panel": None, "logical_servers": []}
    state = "down" if holder is None else "up" if holder.ready else "starting"
    return {
        "up": state == "up",
        "state": state,
        "directory": str(layout.root),
        "panel": f"https://{plan.panel}/",
        "profile": _profile(layout),
        "first_password": str(layout.password),
        "logs": str(layout.logs),
        "logical_servers": [server.described() for server in _servers(layout, plan, holder)],
    }


def _servers(layout: "Layout", plan: "ClusterPlan", holder: "Holder | None") -> "list[Server]":
    """Give the servers as the model has them; as they were made where it cannot be asked."""
    from controller.client import profiles
    from controller.client.client import Client
    from controller.local import serving

    if holder is None or not holder.ready:
        return serving.planned(plan)
    name = _profile(layout)
    try:
        profile = profiles.load().by_name.get(name)
        if profile is not None and profile.config == str(layout.controller_config):
            return serving.modelled(Client(profile, patience=_ASKED_SECONDS), plan)
        why = f"the profile {name} is not this cluster's"
    except HsctlError as error:
        why = error.message
    say(f"{why}: its servers are shown where they were when it was made")
    return serving.planned(plan)


def _left(layout: "Layout", plan: "ClusterPlan | None") -> dict[str, Any]:
    """Say what runs and answers although no supervisor does."""
    from controller.local.processes import daemons_below
    from controller.local.serving import answers, planned
    from controller.local.supervisor import still_running

    if plan is None:
        return {}
    names = still_running(layout)
    # Only with a daemon of its own: another cluster may have its addresses by now.
    daemons = daemons_below(layout.boxes)
    answering = [
        server.name for server in planned(plan) if daemons and answers(server, plan.service_domain)
    ]
    if not names and not daemons:
        return {}
    return {
        "state": "unattended",
        "still_running": names,
        "answering": answering,
        "next": "its supervisor is gone: hsctl local up takes over, hsctl local down stops it",
    }


@contextlib.contextmanager
def _told(layout: "Layout") -> Iterator[None]:
    """Tell in one line what a person can do something about."""
    from controller.local.layout import ForeignDirectoryError
    from controller.local.places import NoPlaceError
    from controller.local.programs import MissingProgramError
    from controller.local.supervisor import AlreadyRunningError, StartError
    from controller.storage.binaries import BinariesError
    from controller.storage.embedded import EmbeddedPostgresError
    from controller.storage.system_account import SystemAccountError

    try:
        yield
    except AlreadyRunningError as error:
        raise RefusedError(f"the cluster is up already (process {error.args[0]})") from error
    except MissingProgramError as error:
        raise RefusedError(f"BIND or Apache is missing: {error.args[0]}") from error
    except ForeignDirectoryError as error:
        raise RefusedError(f"{error}: not touched; choose another directory by --dir") from error
    except (
        StartError,
        NoPlaceError,
        BinariesError,
        EmbeddedPostgresError,
        SystemAccountError,
    ) as error:
        raise RefusedError(_one_line(str(error))) from error
    except OSError as error:
        raise RefusedError(_os_words(layout, error)) from error


def _one_line(text: str) -> str:
    """Give of a program's many words those that say why; all of them are told before."""
    first, *rest = text.strip().splitlines() or ["the cluster did not start"]
    if not rest:
        return first
    for line in (first, *rest):
        say(f"  {line}")
    why = next((line for line in rest if re.search("FATAL|PANIC", line)), rest[-1])
    return f"{first.partition(':')[0]}: {why.strip()}"


def _os_words(layout: "Layout", error: OSError) -> str:
    what = f"{error.filename or layout.root}: {error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{what}: make room, then hsctl local up goes on"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{what}: the cluster is another user's, or --dir needs a directory of yours"
    return f"{what}: choose another directory by --dir"
