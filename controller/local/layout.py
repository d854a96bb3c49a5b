"""Where a cluster on one machine keeps its state, and what its three boxes are."""

import os
from pathlib import Path

import attrs
import msgspec


class Place(msgspec.Struct, frozen=True):
    """An address and a port on this machine."""

    address: str
    port: int

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.port}"


class LocalBox(msgspec.Struct, frozen=True):
    """One box of the cluster and the one logical server that it runs."""

    name: str
    group: str
    service_type: str
    endpoint: Place
    control_port: int | None = None
    tls_port: int | None = None
    """A web server's port for TLS; None in clusters that were made without one."""

    @property
    def tls(self) -> Place | None:
        """Where the box answers TLS."""
        return None if self.tls_port is None else Place(self.endpoint.address, self.tls_port)


class ClusterPlan(msgspec.Struct, frozen=True):
    """What was chosen when the cluster was made; kept, so that a second start finds the same."""

    service_domain: str
    panel: Place
    agents: Place
    enrolment: Place
    boxes: tuple[LocalBox, ...]
    loopback: tuple[str, ...]
    """Addresses that were added to the loopback interface, to be taken away by ``down``."""


class ForeignDirectoryError(Exception):
    """A directory holds what no local cluster made; ``args[0]`` says what."""


OWN_ENTRIES = frozenset(
    (
        "boxes",
        "cluster.candidate",
        "cluster.json",
        "controller",
        "first-password",
        "logs",
        "postgres",
        "processes.candidate",
        "processes.json",
        "programs",
        "provisioned",
        "supervisor.lock",
        "supervisor.log",
    )
)
"""All that stands in a cluster's directory: nothing else is ever removed with it."""


@attrs.frozen
class Layout:
    """The folders and files of one cluster, below one directory."""

    root: Path

    @property
    def plan(self) -> Path:
        """The chosen addresses and ports."""
        return self.root / "cluster.json"

    @property
    def controller(self) -> Path:
        """The controller's state: configuration, CA, secrets key."""
        return self.root / "controller"

    @property
    def controller_config(self) -> Path:
        """The controller's configuration file."""
        return self.controller / "controller.toml"

    @property
    def postgres(self) -> Path:
        """The embedded database's state."""
        return self.root / "postgres"

    @property
    def boxes(self) -> Path:
        """The boxes' folders: each holds what would be a server's own disk."""
        return self.root / "boxes"

    def agent_config(self, box: str) -> Path:
        """The configuration file of one box's agent."""
        return self.boxes / box / "agent.toml"

    def grants(self, box: str) -> Path:
        """What one box's agent may touch."""
        return self.boxes / box / "grants.toml"

    @property
    def logs(self) -> Path:
        """One log file for each process."""
        return self.root / "logs"

    def log_of(self, process: str) -> Path:
        """The log that a process writes and rotates itself."""
        return self.logs / f"{process}.log"

    @property
    def lock(self) -> Path:
        """Held by the running supervisor; holds its process id."""
        return self.root / "supervisor.lock"

    @property
    def processes(self) -> Path:
        """The processes that the supervisor started, for a clean-up after it was killed."""
        return self.root / "processes.json"

    @property
    def password(self) -> Path:
        """The first password of the operator ``admin``."""
        return self.root / "first-password"

    @property
    def log(self) -> Path:
        """What a detached supervisor told, and its last words."""
        return self.root / "supervisor.log"

    def foreign(self) -> list[str]:
        """Name what stands in the directory and belongs to no cluster."""
        if not self.root.exists():
            return []
        return sorted({entry.name for entry in self.root.iterdir()} - OWN_ENTRIES)

    def check_usable(self) -> None:
        """Refuse a directory that is in use for something else: `ForeignDirectoryError`."""
        plan = self.read_plan()
        found = self.foreign()
        if found and plan is None:
            raise ForeignDirectoryError(f"{self.root} holds other things ({', '.join(found[:3])})")

    def read_plan(self) -> ClusterPlan | None:
        """Give the plan, or None where no cluster was made here."""
        try:
            return msgspec.json.decode(self.plan.read_bytes(), type=ClusterPlan)
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            raise ForeignDirectoryError(f"{self.plan} is no cluster's ({error})") from error

    def write_plan(self, plan: ClusterPlan) -> None:
        """Keep the plan."""
        data = msgspec.json.format(msgspec.json.encode(plan)) + b"\n"
        candidate = self.plan.with_suffix(".candidate")
        candidate.write_bytes(data)
        os.replace(candidate, self.plan)


def default_root() -> Path:
    """Choose the state directory of the machine's own cluster.

    Root uses /var/lib, because the database and the daemons drop to users that cannot enter
    root's home; anybody else the checkout, or the XDG state directory where there is none.
    """
    if os.geteuid() == 0:
        return Path("/var/lib/heliosphere/local")
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "setup.cfg").exists():
        return checkout / "var" / "local"
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "heliosphere" / "local"
