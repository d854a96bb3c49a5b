"""The render unit ``server`` of BIND: named.conf and the zone that proves that named is well."""

import base64
import binascii
import ipaddress

from templates.bind.layout import (
    BASELINE_FILE,
    BASELINE_ZONE,
    CONFIGURATION,
    LOG_FILE,
    OVERRIDE_PLACES,
    OVERRIDES_BASE,
    PID_FILE,
    STATE,
)
from templates.bind.objects import ServerSpec, TsigKey, needs_restart
from templates.bind.zone_file import baseline_file_text
from templates.effects import (
    CheckBound,
    CheckProgram,
    MakeDirectory,
    ProbeZone,
    UnitPlan,
    WriteFile,
    candidate_path,
)
from templates.overrides import FOLDER
from templates.render import render
from templates.service_type import (
    SERVER_ID,
    SERVER_UNIT,
    ControlEndpoint,
    Endpoint,
    LaneContext,
    PlanRefusedError,
    Unit,
)

CONTROL_ADDRESS = "127.0.0.1"
CONTROL_KEY = "heliosphere-control"
CONTROL_ALGORITHM = "hmac-sha256"

_TSIG_ALGORITHMS = frozenset({"hmac-sha256", "hmac-sha384", "hmac-sha512"})
_SHORTEST_SECRET = 16


def control_endpoint(context: LaneContext) -> ControlEndpoint:
    """Say where the lane's named takes commands, and with which key."""
    return ControlEndpoint(
        CONTROL_ADDRESS,
        context.server.settings.control_port,
        CONTROL_KEY,
        CONTROL_ALGORITHM,
        context.control_secret,
    )


def plan_server(context: LaneContext, before: Unit, after: Unit) -> UnitPlan:
    """Plan named.conf. A server that goes leaves its files: the operator removes the lane.

    A change of the control port restarts named: a reload is asked for over that very port.
    """
    spec = after.objects.get(SERVER_ID)
    if spec is None:
        return UnitPlan(unit=SERVER_UNIT)
    restart = needs_restart(before.objects.get(SERVER_ID), spec)
    return UnitPlan(
        unit=SERVER_UNIT,
        files=(
            MakeDirectory("zones"),
            MakeDirectory(STATE, mode=0o750, owner="daemon"),
            MakeDirectory(f"{STATE}/secondary", mode=0o750, owner="daemon"),
            *(MakeDirectory(f"{FOLDER}/{place}") for place in OVERRIDE_PLACES),
            *(MakeDirectory(f"{OVERRIDES_BASE}/{place}") for place in OVERRIDE_PLACES),
            *(WriteFile(f"{OVERRIDES_BASE}/{place}/none.conf", b"") for place in OVERRIDE_PLACES),
            WriteFile(BASELINE_FILE, baseline_file_text().encode()),
            WriteFile(
                CONFIGURATION, _configuration(context, spec).encode(), mode=0o640, owner="daemon"
            ),
        ),
        # The files above have their names only after the check, which needs one for each include.
        scratch=tuple(
            WriteFile(f"{OVERRIDES_BASE}/{place}/check.conf", b"") for place in OVERRIDE_PLACES
        ),
        checks=(
            *(CheckBound(endpoint.address) for endpoint in spec.endpoints),
            CheckProgram("named-checkconf", (str(context.root / candidate_path(CONFIGURATION)),)),
        ),
        reload=not restart,
        restart=restart,
        probes=(
            ProbeZone(BASELINE_ZONE),
            *(
                ProbeZone(BASELINE_ZONE, address=beside.address, port=beside.port)
                for beside in spec.endpoints[1:]
            ),
        ),
    )


def _configuration(context: LaneContext, spec: ServerSpec) -> str:
    _check_key(spec.transfer_key)
    if not spec.endpoints:
        raise PlanRefusedError(f"{spec.name}: a name server needs an address")
    by_family = {version: _addresses(spec, version) for version in (4, 6)}
    return render(
        "bind/named.conf.j2",
        control=control_endpoint(context),
        transfer_key=spec.transfer_key,
        log_file=str(context.root / LOG_FILE),
        state=str(context.root / STATE),
        pid_file=str(context.root / PID_FILE),
        port=spec.endpoints[0].port,
        listen_v4=_by_port(by_family[4]),
        listen_v6=_by_port(by_family[6]),
        source_v4=by_family[4][0].address if by_family[4] else None,
        source_v6=by_family[6][0].address if by_family[6] else None,
        overrides={place: _include(context, place) for place in OVERRIDE_PLACES},
        baseline_zone=BASELINE_ZONE,
        baseline_file=str(context.root / BASELINE_FILE),
    )


def _include(context: LaneContext, place: str) -> str:
    """Give the pattern of an operator's files and of ours, which is there always."""
    root = str(context.root)
    if any(character in root for character in "*?[]\\"):
        raise PlanRefusedError(f"the lane's directory {root!a} has a character of a pattern")
    return f"{root}/{FOLDER}*/{place}/*.conf"


def _addresses(spec: ServerSpec, version: int) -> tuple[Endpoint, ...]:
    chosen = []
    for endpoint in spec.endpoints:
        if not 1 <= endpoint.port <= 65535:
            raise PlanRefusedError(f"{spec.name}: {endpoint.port!a} is not a port")
        try:
            address = ipaddress.ip_address(endpoint.address)
        except ValueError as error:
            raise PlanRefusedError(f"{spec.name}: {error}") from error
        if address.version == version:
            chosen.append(endpoint)
    return tuple(chosen)


def _by_port(endpoints: tuple[Endpoint, ...]) -> list[tuple[int, list[str]]]:
    ports = sorted({endpoint.port for endpoint in endpoints})
    return [
        (port, [endpoint.address for endpoint in endpoints if endpoint.port == port])
        for port in ports
    ]


def _check_key(key: TsigKey) -> None:
    """A bad key would only be found when a transfer fails, so it is looked at here."""
    labels = key.name.removesuffix(".").split(".")
    if key.name.removesuffix(".") == CONTROL_KEY or not all(
        0 < len(label) < 64 and label.replace("-", "").isalnum() and label.isascii()
        for label in labels
    ):
        raise PlanRefusedError(f"{key.name!a} cannot be the name of the transfer key")
    if key.algorithm not in _TSIG_ALGORITHMS:
        raise PlanRefusedError(f"{key.algorithm!a} is not an algorithm for transfers")
    try:
        secret = base64.b64decode(key.secret, validate=True)
    except (binascii.Error, ValueError):
        secret = b""
    if len(secret) < _SHORTEST_SECRET:
        raise PlanRefusedError(f"the secret of the transfer key {key.name} is not usable")
