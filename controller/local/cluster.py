"""A cluster on one machine, brought up, watched, taken down and removed."""

import errno
import os
import pwd
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import attrs

from controller.client import profiles
from controller.client.client import LOCAL, Client
from controller.client.errors import HsctlError
from controller.local import places, processes
from controller.local.claims import Claims
from controller.local.layout import OWN_ENTRIES, ClusterPlan, Layout
from controller.local.programs import daemon_programs
from controller.local.provision import provision, write_agent_config
from controller.local.serving import Server, behind, followed, modelled, taken
from controller.local.supervisor import (
    Lock,
    Say,
    StartError,
    StoppedError,
    Supervisor,
    end_leftovers,
)

_TENDING_SECONDS = 0.5
_LIVE_SECONDS = 90.0
_LIVE_AGAIN_SECONDS = 15.0
"""How long a cluster that has served before is waited for, before it is up with what does."""
_OPERATOR = "admin"
_ATTEMPTS = 5
"""Starts of a new cluster, while others that are made at the same time take its ports."""


def profile_name(layout: Layout, default_root: Path) -> str:
    """Name the profile of a cluster: ``local``, or ``local-FOLDER`` for one beside it."""
    if layout.root == default_root:
        return LOCAL
    safe = "".join(sign if sign.isalnum() else "-" for sign in layout.root.name)
    return f"{LOCAL}-{safe}"[:64]


@attrs.define
class LocalCluster:
    """One cluster below ``layout.root``; ``profile`` is the name of its hsctl profile."""

    layout: Layout
    profile: str
    say: Say
    _claims: Claims = attrs.field(init=False, factory=Claims)

    def run(
        self, *, ready: Callable[[ClusterPlan, list[str]], None], stop: Callable[[], bool]
    ) -> None:
        """Bring the cluster up, tell ``ready``, tend it until ``stop`` says so, take it down.

        Raises `StartError` and its like when a part does not start; what had started is ended.
        """
        self.layout.check_usable()
        _check_user()
        with Lock(self.layout.lock) as lock, self._claims:
            end_leftovers(self.layout)
            programs = daemon_programs(self.layout.root / "programs")
            try:
                plan, supervisor, notes = self._started(programs, stop)
            except StoppedError:
                self.say("stopped before it was up; the next start goes on from here")
                return
            self._keep(plan)
            try:
                lock.ready()
                ready(plan, [*places.moved(plan), *notes])
                while not stop():
                    supervisor.tend()
                    time.sleep(_TENDING_SECONDS)
                self.say("stopping")
            finally:
                supervisor.stop()

    def _started(
        self, programs: dict[str, str], stop: Callable[[], bool]
    ) -> tuple[ClusterPlan, Supervisor, list[str]]:
        """Start everything, and say what does not serve.

        Where a port of the controller went to another program, it moves.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            plan = self._plan()
            supervisor = Supervisor(self.layout, plan, self.say, stop)
            try:
                plan, notes = self._start(supervisor, plan, programs)
            except BaseException as error:
                supervisor.stop()
                if not isinstance(error, StartError) or attempt == _ATTEMPTS:
                    raise
                lost = places.taken_doors(plan)
                # Whoever had it may be gone by now: then its words tell.
                if not lost and os.strerror(errno.EADDRINUSE) not in error.words:
                    raise
                taken = ", ".join(map(str, lost)) or "a port"
                self.say(f"{taken} was taken by another program meanwhile: choosing again")
            else:
                return plan, supervisor, notes
        raise AssertionError("the last attempt returns or raises")

    @property
    def _is_new(self) -> bool:
        """Whether nothing was made yet that knows its address."""
        return not self.layout.boxes.exists()

    @property
    def _is_provisioned(self) -> bool:
        """Whether its model has all that it was made for; places may be others since."""
        return (self.layout.root / "provisioned").exists()

    def _plan(self) -> ClusterPlan:
        plan = self.layout.read_plan()
        if plan is not None and self._is_new:
            # Nothing knows these places yet, and others may have taken them.
            places.release_loopback(plan.loopback, self._mark)
            plan = None
        if plan is None:
            plan = places.choose_plan(self.layout.root, self._claims, own=self.profile == LOCAL)
        else:
            self._claim(plan)
            plan = places.with_free_doors(plan, self._claims)
            self._keep(plan)
        self.layout.write_plan(plan)
        return plan

    def _keep(self, plan: ClusterPlan) -> None:
        """Claim the boxes' places. Where another cluster has one, its box says that."""
        for place, _ in places.places_of_boxes(plan):
            self._claims.claim(place)

    @property
    def _mark(self) -> str:
        return places.label(self.layout.root)

    def _claim(self, plan: ClusterPlan) -> None:
        """Take the addresses again that the model knows since the cluster was made."""
        try:
            if plan.loopback:
                places.claim_loopback(plan.loopback, self._mark)
            if not self._is_provisioned:
                self._check_free(plan)
        except places.AddressTakenError as error:
            raise StartError(
                f"{error.args[0]}, which this cluster uses, is on this machine for another purpose "
                "meanwhile: end that, or remove this cluster with `hsctl local reset`"
            ) from error
        except StartError:
            places.release_loopback(plan.loopback, self._mark)
            raise

    def _check_free(self, plan: ClusterPlan) -> None:
        for place, datagram in places.places_of_boxes(plan):
            if not places.is_free(place, datagram=datagram):
                raise StartError(
                    f"{place}, which this cluster uses, is taken by another program: end that, "
                    "or remove this cluster with `hsctl local reset`"
                )

    def _start(
        self, supervisor: Supervisor, plan: ClusterPlan, programs: dict[str, str]
    ) -> tuple[ClusterPlan, list[str]]:
        supervisor.check_wanted()
        self.say("starting PostgreSQL")
        url = supervisor.start_database()
        supervisor.check_wanted()
        self._configure(plan, url)
        self.say("starting the controller")
        ready_file = self.layout.controller / "ready"
        ready_file.unlink(missing_ok=True)
        controller = supervisor.start(
            "controller",
            "controller.main",
            "run",
            "--config",
            str(self.layout.controller_config),
            "--ready-file",
            str(ready_file),
        )
        supervisor.wait_until(ready_file.exists, controller, "the controller")
        client = self._sign_in(plan)
        is_first = not self._is_provisioned
        if is_first:
            provision(client, plan, self.layout, programs, self.say, wanted=supervisor.check_wanted)
        notes = [] if is_first else taken(modelled(client, plan))
        for box in plan.boxes:
            write_agent_config(self.layout, plan, box, programs)
            supervisor.start(
                f"agent-{box.name}",
                "node_agent.main",
                "run",
                "--config",
                str(self.layout.agent_config(box.name)),
            )
        seconds = _LIVE_SECONDS if is_first else _LIVE_AGAIN_SECONDS
        late = self._wait_live(supervisor, client, plan, seconds)
        if late and is_first:
            words = "\n".join(child.last_words() for child in supervisor.children)
            names = ", ".join(server.name for server in late)
            raise StartError(f"{names} did not come to serve", words)
        # What has served before may have been changed since, by a command or by hand: whoever did
        # it needs the panel to look.
        servers = modelled(client, plan)
        held = [server for server in servers if server.condition in ("held", "ahead", "blocked")]
        notes += [server.note for server in (*late, *held)]
        return followed(plan, servers), notes

    def _wait_live(
        self, supervisor: Supervisor, client: Client, plan: ClusterPlan, seconds: float
    ) -> list[Server]:
        """Wait until all serve what they must; give those that did not come to it in time."""
        self.say("waiting for the name servers and the web server to serve")
        deadline = time.monotonic() + seconds
        while True:
            late = behind(modelled(client, plan), plan.service_domain)
            if not late or time.monotonic() >= deadline:
                return late
            supervisor.check_wanted()
            supervisor.tend()
            time.sleep(0.1)

    def _configure(self, plan: ClusterPlan, url: str) -> None:
        """Write controller.toml, and once: CA, keys, schema, first operator."""
        folder = self.layout.controller
        folder.mkdir(parents=True, exist_ok=True, mode=0o711)
        settings = {
            "state": str(folder),
            "database": url,
            "panel": str(plan.panel),
            "agents": str(plan.agents),
            "enrolment": str(plan.enrolment),
            "public_name": plan.panel.address,
            "service_domain": plan.service_domain,
            "log": str(self.layout.log_of("controller")),
        }
        text = "".join(f'{name} = "{value}"\n' for name, value in settings.items())
        self.layout.controller_config.write_text(text)
        self.layout.controller_config.chmod(0o644)  # whatever the umask: see `read_config`
        printed = self._administer("init", "--operator", _OPERATOR)
        if ", password " in printed:
            _write_private(self.layout.password, printed.rpartition(" ")[2])
        elif self._is_new and not self.layout.password.exists():
            # A first start was killed in the instant after the password was made.
            reset = self._administer("admin", "reset-password", _OPERATOR)
            _write_private(self.layout.password, reset.rpartition(" ")[2])

    def _sign_in(self, plan: ClusterPlan) -> Client:
        """Give a client; the first time with a new token, kept as a profile."""
        known = profiles.load().by_name.get(self.profile)
        url = f"https://{plan.panel}"
        config = str(self.layout.controller_config)
        if known is not None and known.config == config:
            moved = attrs.evolve(known, url=url)
            client = Client(moved)
            try:
                client.read("status.show", {})
            except HsctlError:
                client.close()
            else:
                profiles.save(moved)
                return client
        token = self._administer("admin", "token", _OPERATOR, "--label", "hsctl local").strip()
        ca = (self.layout.controller / "pki" / "ca.pem").read_text()
        profile = profiles.Profile(name=self.profile, url=url, ca=ca, token=token, config=config)
        profiles.save(profile)
        return Client(profile)

    def _administer(self, *arguments: str) -> str:
        """Run ``hs-controller`` on the cluster's configuration; give what it printed."""
        finished = subprocess.run(
            [
                sys.executable,
                "-I",
                "-m",
                "controller.main",
                *arguments,
                "--config",
                str(self.layout.controller_config),
            ],
            capture_output=True,
            text=True,
            check=False,
            env=processes.own_environment(),
            start_new_session=True,  # a Ctrl-C must reach the supervisor only
        )
        if finished.returncode:
            raise StartError(f"hs-controller {arguments[0]} failed", finished.stderr.strip())
        return finished.stdout.strip()


def _check_user() -> None:
    """Refuse a user without a name, whom PostgreSQL would not let in."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        raise StartError(
            f"the user id {os.geteuid()} has no name on this machine, and PostgreSQL needs one: "
            "add it to /etc/passwd, or run this as another user"
        ) from None


def _write_private(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{text}\n")


def remove(layout: Layout, profile: str) -> list[str]:
    """Remove a cluster that is down: its files, its loopback addresses and its profile.

    Gives the names of what stays in the directory because no cluster made it.
    """
    plan = layout.read_plan()
    if plan is not None:
        places.release_loopback(plan.loopback, places.label(layout.root))
    profiles.forget(profile)
    kept = layout.foreign()
    # The plan goes last: a removal that was interrupted can be asked for again.
    for name in sorted(OWN_ENTRIES, key=lambda name: name == layout.plan.name):
        entry = layout.root / name
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
    if not kept:
        layout.root.rmdir()
    return kept
