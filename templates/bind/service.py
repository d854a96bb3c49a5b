"""The service type ``bind``: a name server whose zones never wait for a full reload."""

from templates.bind.layout import BASELINE_ZONE, CONFIGURATION, LOG_FILE, PID_FILE
from templates.bind.objects import SERVER, ZONE, BindOptions, BindSettings
from templates.bind.origins import origins
from templates.bind.server import control_endpoint, plan_server
from templates.bind.zone import check_succession, plan_zone
from templates.effects import CheckProgram, Probe, ProbeZone, UnitPlan
from templates.service_type import (
    SERVER_UNIT,
    ControlEndpoint,
    Daemon,
    LaneContext,
    ServiceType,
    Unit,
)


def _plan(context: LaneContext, before: Unit, after: Unit) -> UnitPlan:
    """Plan one unit. No object of this type ever moves between units, so its name tells which."""
    if after.name == SERVER_UNIT:
        return plan_server(context, before, after)
    return plan_zone(context, before, after)


def _start(context: LaneContext) -> tuple[str, ...]:
    user = () if context.daemon_user is None else ("-u", context.daemon_user)
    ipv6 = any(":" in endpoint.address for endpoint in context.server.endpoints)
    family = () if ipv6 else ("-4",)
    return (*family, "-c", str(context.root / CONFIGURATION), *user)


def _check(context: LaneContext) -> CheckProgram:
    return CheckProgram("named-checkconf", (str(context.root / CONFIGURATION),))


def _baseline(context: LaneContext) -> tuple[Probe, ...]:
    return (ProbeZone(BASELINE_ZONE),)


def _control(context: LaneContext) -> ControlEndpoint:
    return control_endpoint(context)


BIND = ServiceType(
    name="bind",
    group="dns",
    platforms=frozenset({"linux", "freebsd"}),
    settings=BindOptions,
    default_port=53,
    kinds={kind.name: kind for kind in (SERVER, ZONE)},
    plan=_plan,
    daemon=Daemon(
        program="named",
        start=_start,
        pid_file=PID_FILE,
        reload="control",
        check=_check,
        baseline=_baseline,
        control=_control,
        log_file=LOG_FILE,
    ),
    origins=origins,
    check_succession=check_succession,
    rendered=BindSettings,
)
