"""Dedicated addresses: brought up and listened on from when a site takes one (R355).

Each is a render unit of its own with a file of its own, so an address that another machine has
holds back no other. The address is up before the server is told to listen on it.
"""

from ipaddress import ip_address

from templates.apache.configuration import BASELINE, check_text
from templates.apache.names import HEALTH
from templates.apache.objects import AddressSpec
from templates.effects import (
    AddressDown,
    AddressUp,
    CheckAddress,
    CheckProgram,
    MakeDirectory,
    ProbeHttp,
    RemovePath,
    UnitPlan,
    WriteFile,
)
from templates.render import render
from templates.service_type import LaneContext, PlanRefusedError, Unit


def plan_address(context: LaneContext, before: Unit, after: Unit) -> UnitPlan:
    """Plan one dedicated address; raises `PlanRefusedError`."""
    if not after.objects:
        ((address, _),) = _addresses(before)
        return UnitPlan(
            unit=after.name,
            files=(RemovePath(_file(address)),),
            control=(AddressDown(address),),
            reload=True,
            probes=(BASELINE,),
        )
    ((address, spec),) = _addresses(after)
    text = _text(context, address, spec)
    path, scratch, candidate = _file(address), f"check/{address}.conf", f"check/{address}.listen"
    return UnitPlan(
        unit=after.name,
        files=(MakeDirectory("addresses"), WriteFile(path, text.encode())),
        scratch=(
            WriteFile(scratch, check_text(context, candidate).encode()),
            WriteFile(candidate, text.encode()),
        ),
        checks=(
            CheckAddress(address),
            CheckProgram("apache2", ("-t", "-f", str(context.root / scratch))),
        ),
        control=(AddressUp(address, spec.prefix),),
        reload=True,
        probes=(BASELINE, ProbeHttp(HEALTH, statuses=(204,), address=address)),
    )


def _addresses(unit: Unit) -> tuple[tuple[str, AddressSpec], ...]:
    return tuple((object_id.key, spec) for object_id, spec in unit.objects.items())


def _file(address: str) -> str:
    return f"addresses/{address}.conf"


def _text(context: LaneContext, address: str, spec: AddressSpec) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        raise PlanRefusedError(f"{address!a} is not an address") from None
    if str(parsed) != address or getattr(parsed, "scope_id", None):
        raise PlanRefusedError(f"{address!a} is not written as {str(parsed)!a}")
    if not 1 <= spec.prefix <= parsed.max_prefixlen:
        raise PlanRefusedError(f"the prefix {spec.prefix} of {address} is none")
    ports = {endpoint.port for endpoint in context.server.endpoints}
    if spec.port not in ports:
        raise PlanRefusedError(
            f"port {spec.port} of {address} is none that the server's sites are answered on"
        )
    return render("apache/address.conf.j2", address=address, port=spec.port)
