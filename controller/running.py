"""The running controller: everything it is made of, put together by plain constructors."""

import random
import time
from typing import Any

from twisted.internet.defer import Deferred, ensureDeferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

import pki
from controller.bootstrap.runs import SshEnrolments
from controller.cluster.ports import EnrolmentInfo
from controller.cluster.rollouts.job import RolloutJob
from controller.cluster.servers.editing import ServerEditing
from controller.commands import Registry
from controller.config import ControllerConfig, Listen
from controller.crash_points import CrashSite, pass_by
from controller.fleet.differences import Differences
from controller.fleet.fleet import Fleet
from controller.holding import Holding
from controller.hosting.address_mover import AddressMover
from controller.hosting.address_phases import Renumbering
from controller.hosting.certificates import self_signed
from controller.hosting.service_zone import ServiceZone
from controller.hosting.zone_mover import ZoneMover
from controller.housekeeping import HOUSEKEEPING_SECONDS, Housekeeping
from controller.identity import Identity, hosts_of
from controller.job import Job
from controller.principal import system
from controller.projection.stored import ServerProjection
from controller.registry import build_registry
from controller.runner import CommandRunner
from controller.storage import people
from controller.storage.anchoring import Anchoring
from controller.storage.anchors import FILE as ANCHORS
from controller.storage.anchors import AnchorFile
from controller.storage.database import Database, Transaction
from controller.storage.passwords import Passwords
from controller.storage.sealer import Sealer
from controller.storage.secrets import Secrets
from controller.storage.sign_in import SignIn
from controller.storage.token_uses import TokenUses
from controller.web.api import Api
from controller.web.authentication import Authenticator
from controller.web.event_stream import DatabaseFeed, EventStream
from controller.web.events import EventBus
from controller.web.panel.doorkeeper import Doorkeeper
from controller.web.panel.panel import Panel
from controller.web.plain import PlainDoor
from controller.web.server import ControllerSite, LimitedTls

BACKLOG = 4096
"""Connections that wait in the kernel, unaccepted, where it allows as many (``somaxconn``): one
that finds no place is not refused, but tries again by itself after ever longer waits.
"""
_log = Logger()


class Controller:
    """One controller process."""

    def __init__(
        self,
        config: ControllerConfig,
        database: Database,
        identity: Identity,
        reactor: Any,
        at: CrashSite = pass_by,
    ) -> None:
        self._config = config
        self._database = database
        self._identity = identity
        self._reactor = reactor
        secrets = Secrets.load(config.secrets_key)
        self.fleet = Fleet(
            reactor,
            database,
            identity.authority,
            agent_tls=identity.agents,
            enrolment_tls=identity.enrolment,
            deny_list=identity.denied,
            cluster=identity.authority.cluster,
            agent_port=config.agents.port,
            inline=secrets.inline,
            at=at,
        )
        enrolment = EnrolmentInfo(
            config.public_name,
            config.enrolment.port,
            identity.authority.fingerprint,
            config.agent_install,
        )
        self._ssh = SshEnrolments(database, reactor)
        anchors = AnchorFile(config.state / ANCHORS)
        self.registry: Registry = build_registry(
            enrolment,
            time.time,
            fleet=self.fleet,
            secrets=secrets,
            anchors=anchors,
            ssh=self._ssh,
        )
        self.runner = CommandRunner(
            database,
            self.registry,
            self.fleet.handover,
            Differences(self.fleet, reactor, secrets.inline),
            Holding(secrets, config.reload_boxes),
            at=at,
        )
        self._sealer = Sealer(database, reactor, Anchoring(database, anchors, reactor), at)
        self._jobs: tuple[Job, ...] = (
            ZoneMover(database, reactor, time.time, random.SystemRandom(), at),
            AddressMover(
                database,
                reactor,
                time.time,
                Renumbering(
                    ServerProjection(secrets, self_signed), ServiceZone(time.time, enrolment.host)
                ),
                at,
            ),
            RolloutJob(database, reactor, ServerEditing(ServerProjection(secrets, self_signed))),
        )
        self._bus = EventBus(reactor)
        api = Api(
            registry=self.registry,
            runner=self.runner,
            authenticator=Authenticator(
                TokenUses(database, reactor).operator_of, self._operator_enabled
            ),
            bus=self._bus,
            stream=EventStream(self._bus, DatabaseFeed(database)),
            clock=reactor,
            version=pki.__version__,
        )
        panel = Panel(
            registry=self.registry,
            runner=self.runner,
            doorkeeper=Doorkeeper(database, SignIn(database, Passwords())),
            bus=self._bus,
            clock=reactor,
        )
        site = ControllerSite(api, panel, hosts_of(config), reactor)
        self._tls = LimitedTls(identity.panel, site, reactor)
        self._port: IListeningPort | None = None
        self._plain = PlainDoor(lambda: self._at.port, hosts_of(config), reactor)
        self._plain_port: IListeningPort | None = None
        self._house = Housekeeping(database, identity.renew_if_due)
        self._housekeeping = LoopingCall(self._keep_house)

    @property
    def url(self) -> str:
        """Where panel and API are found."""
        host = self._config.public_name
        return f"https://{f'[{host}]' if ':' in host else host}:{self._at.port}"

    @property
    def _at(self) -> Any:
        return self._config.panel if self._port is None else self._port.getHost()

    async def start(self) -> None:
        """Begin to serve; returns when all doors are open."""
        await self._bus.start(self._database)
        await self._sealer.start()
        await self.fleet.start(
            self._endpoint(self._config.agents), self._endpoint(self._config.enrolment)
        )
        for job in self._jobs:
            await job.start()
        self._port = await self._endpoint(self._config.panel).listen(self._tls)
        if self._config.plain is not None:
            self._plain_port = await self._endpoint(self._config.plain).listen(self._plain)
        self._housekeeping.clock = self._reactor
        self._housekeeping.start(HOUSEKEEPING_SECONDS, now=True)

    async def stop(self) -> None:
        """Close the doors, end what is in work, close the database."""
        if self._housekeeping.running:
            self._housekeeping.stop()
        for port in (self._plain_port, self._port):
            if port is not None:
                await maybeDeferred(port.stopListening)
        self._tls.abort_all()
        self._plain.abort_all()
        for job in self._jobs:
            await job.stop()
        await self._ssh.stop()
        await self.fleet.stop()
        await self._sealer.stop()
        await self._database.close()

    def _endpoint(self, listen: Listen) -> IStreamServerEndpoint:
        kind: Any = TCP6ServerEndpoint if ":" in listen.address else TCP4ServerEndpoint
        endpoint: IStreamServerEndpoint = kind(
            self._reactor, listen.port, interface=listen.address, backlog=BACKLOG
        )
        return endpoint

    async def _operator_enabled(self, name: str) -> bool:
        async def find(tx: Transaction) -> bool:
            return await people.operator_enabled(tx, name)

        return await self._database.transaction(
            system("sign-in"), find, name="sign-in.operator", single=True
        )

    def _keep_house(self) -> "Deferred[None]":
        return ensureDeferred(self._house.keep())
