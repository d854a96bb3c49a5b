"""The one seam: what a service type must say of itself."""

from collections.abc import Callable, Mapping
from pathlib import PurePosixPath
from typing import Any, Literal

import attrs

from templates.effects import CheckProgram, Probe, UnitPlan, WriteFile
from templates.objects import ObjectId, ObjectKind, Spec

SERVER_UNIT = "server"
"""The render unit of the one object of kind ``server``: the logical server's own configuration."""
SERVER_ID = ObjectId("server", "")


class Endpoint(Spec, frozen=True):
    """An address (IPv4 or IPv6, as text) and a port that a logical server answers on."""

    address: str
    port: int


class PlanRefusedError(Exception):
    """Planning found an object that cannot be served; ``args[0]`` is told to the operator."""


@attrs.frozen
class LaneContext:
    """What planning may know of the lane beside its objects.

    ``server`` is the specification of the object ``server``; ``root`` the lane's directory on the
    box (absolute, for text inside configuration files); ``daemon_user`` the account that the daemon
    drops to, None where the agent is not root.
    """

    lane: str
    server: Any
    root: PurePosixPath
    daemon_user: str | None
    modules: PurePosixPath | None = None
    """Directory of the daemon's loadable modules, where it has one."""
    control_secret: str = ""
    """Base64 of 32 random bytes that the agent drew for this lane: the control channel's key. It
    never leaves the box."""


@attrs.frozen
class Unit:
    """One render unit before or after a change: its objects, by name. Empty means absent.

    ``before`` holds what is applied, ``after`` what shall be. An object that is to stay as it is
    (it is quarantined, held or waiting) stands in ``after`` as it stands in ``before``.

    An object may move from one unit to another (a site gets settings of its own). The units that
    moved objects connect are then one: the engine hands their objects over together, in one
    ``before`` and one ``after`` under the name of the unit that the first moved object goes to, and
    checks, journals, applies and commits them together. Between two plans of two units there would
    be an instant at which the object belongs to neither. ``plan`` of a service type whose objects
    can move therefore looks at the objects, not at ``name``.
    """

    name: str
    objects: Mapping[ObjectId, Any]


@attrs.frozen
class ControlEndpoint:
    """Where the daemon's control channel listens, and the key that signs its messages."""

    address: str
    port: int
    key_name: str
    algorithm: str
    secret: str = attrs.field(repr=False)


@attrs.frozen
class TakenUp:
    """How it is seen that a daemon has read its configuration again, for one reading of it.

    ``file`` is written before that, is read with the rest, and holds a word that no other reading
    had; ``probe`` fits only where that word is in effect.
    """

    file: WriteFile
    probe: Probe


@attrs.frozen
class Daemon:
    """How the daemon of a lane is run and told to read its configuration again.

    ``start`` daemonizes; it holds arguments for ``program`` of the box's program table, to which
    the lane's directory is formatted in by the service type. ``reload`` is a signal to the process
    of ``pid_file`` or the empty string where a reload goes over the control channel.
    """

    program: str
    start: Callable[[LaneContext], tuple[str, ...]]
    pid_file: str
    reload: Literal["SIGUSR1", "SIGHUP", "control"]
    check: Callable[[LaneContext], CheckProgram]
    """The full check of the configuration that a cold restart would read."""
    baseline: Callable[[LaneContext], tuple[Probe, ...]]
    """Something known good, probed before a batch is blamed."""
    control: Callable[[LaneContext], ControlEndpoint] | None = None
    taken_up: Callable[[str], TakenUp] | None = None
    """By a word of letters and digits. None where the probes of what changed tell."""
    log_file: str = ""
    """The daemon's own log, below the lane's directory; empty where it has none there."""


@attrs.frozen
class Origin:
    """Objects that a file may be written for: those of ``kind`` with this key, or of an account.

    ``begins``: keys that begin with ``key`` are meant, where a file's name holds no more of them.
    """

    kind: str
    key: str = ""
    begins: bool = False
    account: int | None = None


def _anything_follows(before: Unit, after: Unit) -> None:
    """Refuse nothing."""


RELOAD_REST = 20
"""Seconds between reloads, where a service type does not say."""


def _usual_rest(server: Any) -> float:
    """Let the daemon rest as usual."""
    return RELOAD_REST


def _no_directories(server: Any) -> tuple[str, ...]:
    """Name no directory outside the lane's own."""
    return ()


@attrs.frozen
class KnownType:
    """A service type as the model knows it: where it may stand, and what may be set.

    A type that is no more than this is *modelled*: its logical servers have rules, addresses and
    settings, and nothing is applied on their boxes, because no daemon of it is run yet.
    """

    name: str
    group: str
    """The server group that its logical servers belong to: ``dns``, ``web`` ..."""
    platforms: frozenset[str]
    settings: type[Spec]
    """What an operator may set; every field has a default, a documented range, a title and help
    (see `templates.settings`)."""
    default_port: int


@attrs.frozen
class ServiceType(KnownType):
    """Everything the product knows of one kind of daemon."""

    kinds: Mapping[str, ObjectKind]
    plan: Callable[[LaneContext, Unit, Unit], UnitPlan]
    """(context, before, after) to effects. Pure. Raises `PlanRefusedError`.

    It is asked in both directions: the way back is planned before the way there is gone.
    """
    daemon: Daemon
    origins: Callable[[str], tuple[Origin, ...]]
    """Whose a file below the lane's directory may be, by its path. Pure, and only a guess: whoever
    asks plans the objects and sees whether one of them writes the file."""
    check_succession: Callable[[Unit, Unit], None] = _anything_follows
    """(before, after): may this step be taken forward? Raises `PlanRefusedError`."""
    standing: frozenset[str] = frozenset()
    """Kinds whose effects on the host end with a reboot (addresses). Their control effects are done
    again before the daemon starts, so they must be idempotent and need no daemon."""
    directories: Callable[[Any], tuple[str, ...]] = _no_directories
    """The absolute directories outside the lane's own that a configuration for this specification
    of the object ``server`` (None: there is none yet) names: the box's owner must have granted
    them."""
    reload_rest: Callable[[Any], float] = _usual_rest
    """By the specification of the object ``server``: seconds between reloads for what customers
    change, once a few came right after each other. 0 lets them come as they may."""
    rendered: type[Spec] | None = None
    """The part of ``settings`` that the object ``server`` carries; None where that is all of it.
    The rest is for the model alone and changes nothing on a box."""
