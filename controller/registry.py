"""Every command of the product, put together by plain constructors."""

from collections.abc import Callable
from random import Random, SystemRandom

from controller.cluster import change_log, operators
from controller.cluster.addresses.ip_addresses import IpAddresses
from controller.cluster.audit import Audit
from controller.cluster.boxes import editing as boxes_edit
from controller.cluster.boxes.boxes import Boxes
from controller.cluster.boxes.enrolments import Enrolments
from controller.cluster.boxes.invitations import Invitations
from controller.cluster.boxes.monitoring import Monitoring
from controller.cluster.boxes.retirement import Retirement
from controller.cluster.boxes.services import BoxServices
from controller.cluster.drift import DriftCommands
from controller.cluster.faults import Faults
from controller.cluster.model.transfer import ModelTransfer
from controller.cluster.placement import commands as placement_commands
from controller.cluster.placement import dns_commands
from controller.cluster.ports import EnrolmentInfo, FleetPort, SshPort
from controller.cluster.rollouts import commands as rollouts
from controller.cluster.rules.health import Health
from controller.cluster.servers import group_list
from controller.cluster.servers.editing import ServerEditing
from controller.cluster.servers.logical_servers import Servers
from controller.cluster.status import Status
from controller.commands import Registry
from controller.history import objects
from controller.history.approval import HeldChanges
from controller.history.undo import Undo
from controller.history.why import Why
from controller.history.write_back import WriteBack
from controller.holding import Holding
from controller.hosting import (
    accounts,
    address_moves,
    server_records,
    service_domain,
    zone_moves,
)
from controller.hosting.address_phases import Renumbering
from controller.hosting.certificates import self_signed
from controller.hosting.corporate_site import CorporateSite
from controller.hosting.domains import Domains
from controller.hosting.placement_preview import Preview
from controller.hosting.record_commands import Records
from controller.hosting.recovery import Recovery
from controller.hosting.server_names import ServerNames
from controller.hosting.service_zone import ServiceZone
from controller.hosting.shared_certificates import SharedCertificates
from controller.hosting.site_addresses import SiteAddresses
from controller.hosting.site_commands import Sites
from controller.hosting.zone_files import ZoneFiles
from controller.projection.stored import ServerProjection
from controller.storage.anchors import AnchorFile
from controller.storage.secrets import Secrets

__all__ = ["EnrolmentInfo", "FleetPort", "build_registry"]


def build_registry(
    enrolment: EnrolmentInfo,
    clock: Callable[[], float],
    *,
    fleet: FleetPort,
    secrets: Secrets,
    draw: Random | None = None,
    anchors: AnchorFile | None = None,
    ssh: SshPort | None = None,
) -> Registry:
    """Build the registry of all commands.

    ``clock`` gives seconds since the epoch; ``draw`` is where servers are drawn from, the system's
    own randomness unless a test seeds it. ``anchors`` is where the audit's head is noted,
    ``ssh`` what enrols boxes over SSH.
    """
    service_zone = ServiceZone(clock, enrolment.host)
    projection = ServerProjection(secrets, self_signed)
    editing = ServerEditing(projection)
    invitations = Invitations(enrolment)
    boxes = Boxes(invitations, fleet, clock)
    chance = draw or SystemRandom()
    domains = Domains(clock, chance)
    core = Registry(
        (
            *boxes.commands(),
            *boxes_edit.COMMANDS,
            *Enrolments(invitations, ssh).commands(),
            *Retirement(fleet).commands(),
            *Monitoring(clock, fleet).commands(),
            *BoxServices(fleet).commands(),
            *group_list.COMMANDS,
            *dns_commands.COMMANDS,
            *placement_commands.COMMANDS,
            *Preview(chance).commands(),
            *Servers(service_zone).commands(),
            *editing.commands(),
            *IpAddresses(projection, service_zone).commands(),
            *ServerNames(projection, service_zone).commands(),
            *server_records.COMMANDS,
            *zone_moves.commands(clock, chance),
            *address_moves.commands(clock, Renumbering(projection, service_zone)),
            *rollouts.commands(editing),
            *accounts.COMMANDS,
            *domains.commands(),
            *service_domain.COMMANDS,
            *CorporateSite(domains, service_zone).commands(),
            *ZoneFiles(domains).commands(),
            *Records(clock).commands(),
            *Sites(clock, secrets).commands(),
            *SiteAddresses(clock).commands(),
            *SharedCertificates(clock, projection).commands(),
            *change_log.COMMANDS,
            *Audit(anchors).commands(),
            *operators.COMMANDS,
            *Faults(fleet).commands(),
            *DriftCommands(fleet).commands(),
            *Recovery(fleet, clock).commands(),
            *Health(clock).commands(),
            *Status(boxes).commands(),
        )
    )
    undo = Undo(WriteBack(core, SiteAddresses(clock), clock))
    history = (*objects.COMMANDS, *undo.commands(), *Why(secrets).commands())
    known = Registry((*core, *history, *ModelTransfer(core).commands()))
    return Registry((*known, *HeldChanges(known, Holding(secrets)).commands()))
