"""A small service type for tests: zones are quick, pages share a checked and reloaded file."""

from pathlib import PurePosixPath

from templates.effects import (
    AddressDown,
    AddressUp,
    AddZone,
    CheckAddress,
    CheckProgram,
    FileEffect,
    ProbeHttp,
    ProbeZone,
    ReloadZone,
    RemovePath,
    RemoveZone,
    UnitPlan,
    WriteFile,
    candidate_path,
)
from templates.objects import Disturbance, ObjectKind, Spec, encode_spec
from templates.service_type import (
    SERVER_UNIT,
    Daemon,
    Endpoint,
    LaneContext,
    PlanRefusedError,
    ServiceType,
    Unit,
)

BAD_SYNTAX = "bad-syntax"
KILLER = "kills-the-daemon"


class ToySettings(Spec):
    pass


class ToyServer(Spec):
    endpoints: tuple[Endpoint, ...] = (Endpoint(address="127.0.0.1", port=5300),)
    setting: str = "plain"
    reload_rest: int = 0


class ToyZone(Spec):
    serial: int
    config: str = ""
    refuse: str = ""


class ToyPage(Spec):
    account: int
    text: str = ""


class ToyAddress(Spec):
    prefix: int = 24


def _zone_file(name: str) -> str:
    return f"zones/{name}.zone"


def _plan(context: LaneContext, before: Unit, after: Unit) -> UnitPlan:
    if after.name == SERVER_UNIT:
        return _plan_server(before, after)
    if after.name.startswith("zone:"):
        return _plan_zone(before, after)
    if after.name.startswith("address:"):
        return _plan_address(before, after)
    return _plan_pages(before, after)


def _plan_address(before: Unit, after: Unit) -> UnitPlan:
    address = after.name.removeprefix("address:")
    path = f"addresses/{address}.conf"
    if not after.objects:
        return UnitPlan(
            unit=after.name,
            files=(RemovePath(path),),
            control=(AddressDown(address),),
            reload=True,
        )
    (spec,) = after.objects.values()
    return UnitPlan(
        unit=after.name,
        files=(WriteFile(path, f"listen {address}".encode()),),
        checks=(CheckAddress(address),),
        control=(AddressUp(address, spec.prefix),),
        reload=True,
    )


def _plan_server(before: Unit, after: Unit) -> UnitPlan:
    if not after.objects:
        return UnitPlan(unit=SERVER_UNIT, retire=(RemovePath("toy.conf"),))
    (server,) = after.objects.values()
    return UnitPlan(
        unit=SERVER_UNIT,
        files=(WriteFile("toy.conf", server.setting.encode()),),
        checks=(CheckProgram("toy-check", (candidate_path("toy.conf"),)),),
        reload=bool(before.objects),
    )


def _plan_zone(before: Unit, after: Unit) -> UnitPlan:
    name = after.name.removeprefix("zone:")
    path = _zone_file(name)
    if not after.objects:
        return UnitPlan(
            unit=after.name,
            control=(RemoveZone(name),),
            probes=(ProbeZone(name, gone=True),),
            retire=(RemovePath(path),),
        )
    (zone,) = after.objects.values()
    if zone.refuse:
        raise PlanRefusedError(zone.refuse)
    (former,) = before.objects.values() if before.objects else (None,)
    config = f'type master; file "{path}"; {zone.config}'
    same = former is not None and former.config == zone.config
    return UnitPlan(
        unit=after.name,
        files=(WriteFile(path, f"@ 60 IN SOA ns. host. {zone.serial} 1 1 1 1\n".encode()),),
        control=(ReloadZone(name, config),) if same else (AddZone(name, config),),
        probes=(ProbeZone(name, serial=zone.serial),),
    )


def _plan_pages(before: Unit, after: Unit) -> UnitPlan:
    account = next(iter((after.objects or before.objects).values())).account
    path = f"accounts/{account}.conf"
    files: tuple[FileEffect, ...] = (RemovePath(path),)
    checks: tuple[CheckProgram, ...] = ()
    scratch: tuple[WriteFile, ...] = ()
    if after.objects:
        lines = [f"{id.key} {page.text}\n" for id, page in sorted(after.objects.items())]
        files = (WriteFile(path, "".join(lines).encode()),)
        scratch = (WriteFile(f"check/{account}.conf", b"only for the check"),)
        checks = (CheckProgram("toy-check", (candidate_path(path),)),)
    return UnitPlan(
        unit=after.name,
        files=files,
        scratch=scratch,
        checks=checks,
        reload=True,
        probes=tuple(ProbeHttp(host=id.key) for id in sorted(after.objects)),
    )


def _check(context: LaneContext) -> CheckProgram:
    return CheckProgram("toy-check", ())


def _baseline(context: LaneContext) -> tuple[ProbeZone | ProbeHttp, ...]:
    return (ProbeHttp(host="baseline.invalid"),)


def _start(context: LaneContext) -> tuple[str, ...]:
    return (str(PurePosixPath(context.root) / "toy.conf"),)


def _disturbs(before: object, after: object) -> Disturbance:
    return "reload"


TOY = ServiceType(
    name="toy",
    group="toys",
    platforms=frozenset({"linux"}),
    settings=ToySettings,
    default_port=5300,
    kinds={
        "server": ObjectKind("server", 1, ToyServer, lambda key, spec: SERVER_UNIT, _disturbs),
        "zone": ObjectKind("zone", 1, ToyZone, lambda key, spec: f"zone:{key}", _disturbs),
        "address": ObjectKind(
            "address", 1, ToyAddress, lambda key, spec: f"address:{key}", _disturbs
        ),
        "page": ObjectKind(
            "page", 1, ToyPage, lambda key, spec: f"account:{spec.account}", _disturbs
        ),
    },
    plan=_plan,
    reload_rest=lambda server: server.reload_rest,
    daemon=Daemon(
        program="toy",
        start=_start,
        pid_file="toy.pid",
        reload="SIGHUP",
        check=_check,
        baseline=_baseline,
    ),
    standing=frozenset({"address"}),
    origins=lambda path: (),
)


def toy_check(files: object, check: CheckProgram) -> str:
    """A checker: of one candidate, or (without arguments) of everything in place."""
    from node_agent.box.memory import MemoryFiles

    assert isinstance(files, MemoryFiles)
    named = check.arguments or tuple(
        path for path in files.nodes if path.endswith(".conf") and "/." not in f"/{path}"
    )
    for path in named:
        content = files.content(path)
        if content is None:
            return f"{path}: cannot be read"
        if BAD_SYNTAX.encode() in content:
            return f"{path}: {BAD_SYNTAX}"
    return ""


def toy_starts(files: object) -> bool:
    """A daemon that dies of one thing that its checker does not see."""
    from node_agent.box.memory import MemoryFiles

    assert isinstance(files, MemoryFiles)
    contents = (files.content(path) or b"" for path in files.nodes if path.endswith(".conf"))
    return not any(KILLER.encode() in content for content in contents)


__all__ = [
    "BAD_SYNTAX",
    "KILLER",
    "TOY",
    "ToyAddress",
    "ToyPage",
    "ToyServer",
    "ToyZone",
    "encode_spec",
]
