"""The service type ``apache``."""

from templates.apache.addresses import plan_address
from templates.apache.configuration import (
    BASELINE,
    PID_FILE,
    full_check,
    main_file,
    named_directories,
    plan_server,
    taken_up,
)
from templates.apache.objects import DEDICATED, SERVER, SITE, ApacheOptions, ApacheSettings
from templates.apache.origins import origins
from templates.apache.sites import plan_sites
from templates.effects import UnitPlan
from templates.service_type import SERVER_ID, Daemon, LaneContext, ServiceType, Unit


def plan(context: LaneContext, before: Unit, after: Unit) -> UnitPlan:
    """Plan a unit of an Apache lane. Pure; raises `PlanRefusedError`."""
    if SERVER_ID in before.objects or SERVER_ID in after.objects:
        return plan_server(context, before, after)
    if any(each.kind == DEDICATED.name for each in (*before.objects, *after.objects)):
        return plan_address(context, before, after)
    return plan_sites(context, before, after)


APACHE = ServiceType(
    name="apache",
    group="web",
    platforms=frozenset({"linux", "freebsd"}),
    settings=ApacheOptions,
    default_port=80,
    kinds={SERVER.name: SERVER, SITE.name: SITE, DEDICATED.name: DEDICATED},
    plan=plan,
    daemon=Daemon(
        program="apache2",
        start=lambda context: ("-k", "start", "-f", main_file(context)),
        pid_file=PID_FILE,
        reload="SIGUSR1",
        check=full_check,
        baseline=lambda context: (BASELINE,),
        taken_up=taken_up,
        log_file="logs/error.log",
    ),
    origins=origins,
    rendered=ApacheSettings,
    standing=frozenset({DEDICATED.name}),
    directories=named_directories,
    reload_rest=lambda server: server.settings.reload_rest,
)
