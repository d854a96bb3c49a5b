"""The model's commands on a real database, with a fleet that only notes what it is asked."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from random import Random
from typing import Any

import attrs
import msgspec
import pytest
from twisted.internet import reactor

from controller.changes import ChangeState, change_state
from controller.cluster.initialisation import initialise
from controller.fleet.differences import Differences
from controller.fleet.questions import NoAnswerError
from controller.holding import HeldBackError, Holding
from controller.principal import Principal
from controller.refusal import CommandError
from controller.registry import EnrolmentInfo, build_registry
from controller.runner import CommandResult, CommandRunner
from controller.storage.anchors import AnchorFile
from controller.storage.database import Database, Transaction
from controller.storage.secrets import Secrets
from node_agent.wire.questions import AnyAsk, AnyFound

NOW = 1_800_000_000
TABLES = (
    "account",
    "box",
    "certificate",
    "(SELECT id, actor, command, request FROM change)",  # what the sealer adds comes by itself
    "change_object",
    "change_row",
    "cluster",
    "desired_object",
    "domain",
    "enrolment_token",
    "ip_address",
    "lane",
    "logical_server",
    "placement",
    "placement_server",
    "record",
    "secret",
    "shared_certificate",
    "site",
    "zone",
    "zone_server",
)
"""What a refused command leaves byte for byte as it was."""
OPERATOR = Principal("provider", "operator:ada", origin="test")


@attrs.define
class NotedFleet:
    """Notes what commands ask of the fleet."""

    revoked: list[int] = attrs.field(factory=list)
    retried: list[tuple[str, str, str]] = attrs.field(factory=list)
    asked: list[str] = attrs.field(factory=list)
    adopted: list[tuple[str, bool, int | None]] = attrs.field(factory=list)
    adopted_boxes: Collection[str] | None = None
    away: set[str] = attrs.field(factory=set)
    questions: list[AnyAsk] = attrs.field(factory=list)
    answers: list[AnyFound | Exception] = attrs.field(factory=list)
    """What boxes answer, in order."""
    answering: Callable[[AnyAsk], AnyFound] | None = None
    """What they answer after that; nobody does where this is None."""
    monitored: list[tuple[str, bool]] = attrs.field(factory=list)
    doubled: set[str] = attrs.field(factory=set)
    """Boxes (their ids) whose identity a second machine has shown."""

    def revoke(self, serials: Iterable[int]) -> None:
        self.revoked.extend(serials)

    def retry(self, server: str, kind: str = "", key: str = "") -> int:
        self.retried.append((server, kind, key))
        return 1

    def adopt(
        self,
        server: str,
        *,
        overwrite: bool,
        removed: int | None = None,
        boxes: Collection[str] | None = None,
    ) -> int:
        self.adopted_boxes = boxes
        self.adopted.append((server, overwrite, removed))
        return 1

    def request_facts(self, box: str) -> bool:
        self.asked.append(box)
        return True

    def refused(self, box: str) -> str:
        return "duplicate-identity" if box in self.doubled else ""

    def duplicated(self) -> list[str]:
        return sorted(self.doubled)

    def connected(self, box: str) -> bool:
        return box not in self.away

    async def ask(self, box: str, ask: AnyAsk, seconds: float) -> AnyFound:
        self.questions.append(ask)
        if not self.answers and self.answering is not None:
            return self.answering(ask)
        answer = self.answers.pop(0) if self.answers else NoAnswerError("nobody answers")
        if isinstance(answer, Exception):
            raise answer
        return answer

    def set_monitoring(self, box: str, on: bool) -> None:
        self.monitored.append((box, on))


@attrs.define
class Model:
    """Runs commands as an operator would, and reads what they wrote."""

    database: Database
    runner: CommandRunner
    fleet: NotedFleet
    secrets: Secrets
    registry: Any
    anchors: AnchorFile

    async def run(self, command: str, /, **fields: Any) -> CommandResult:
        return await self.run_as(OPERATOR, command, **fields)

    async def held(self, command: str, /, **fields: Any) -> HeldBackError:
        """Give how a command is held back, and see that it wrote nothing."""
        before = await self.footprint()
        with pytest.raises(HeldBackError) as caught:
            await self.run(command, **fields)
        assert await self.footprint() == before
        return caught.value

    async def run_as(
        self,
        principal: Principal,
        command: str,
        /,
        *,
        dry_run: bool = False,
        differences: bool = False,
        idempotency_key: str | None = None,
        **fields: Any,
    ) -> CommandResult:
        request = self.registry[command].request(**fields)
        return await self.runner.run(
            principal,
            command,
            request,
            dry_run=dry_run,
            diff=differences,
            idempotency_key=idempotency_key,
        )

    async def ask(self, command: str, /, **fields: Any) -> Any:
        return (await self.run(command, **fields)).result

    async def approved(self, command: str, /, **fields: Any) -> Any:
        """Run a command, and approve it where hazards hold it back."""
        try:
            return await self.ask(command, **fields)
        except HeldBackError as held:
            accept = {hazard.id: hazard.number for hazard in held.hazards}
            return await self.ask("change.approve", id=held.held, accept=accept)

    async def refused(self, command: str, /, **fields: Any) -> CommandError:
        """Give the refusal of a command, and see that it wrote nothing."""
        before = await self.footprint()
        with pytest.raises(CommandError) as caught:
            await self.run(command, **fields)
        assert await self.footprint() == before
        return caught.value

    async def rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        async def read(tx: Transaction) -> list[tuple[Any, ...]]:
            return await tx.rows(sql, parameters)

        return await self.database.transaction(OPERATOR, read, name="test")

    async def write(self, sql: str, parameters: tuple[Any, ...] = ()) -> None:
        async def change(tx: Transaction) -> int:
            return await tx.run(sql, parameters)

        await self.database.transaction(OPERATOR, change, name="test")

    async def state(self, change_id: int | None) -> ChangeState:
        assert change_id is not None

        async def read(tx: Transaction) -> ChangeState:
            return await change_state(tx, change_id)

        return await self.database.transaction(OPERATOR, read, name="test")

    async def footprint(self) -> list[tuple[Any, ...]]:
        """Give what tells whether anything was written: every row of the model, as a digest."""
        tables = " UNION ALL ".join(
            f"SELECT count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM {table} t"
            for table in TABLES
        )
        return await self.rows(tables)

    async def objects(self, server: str) -> dict[tuple[str, str], Any]:
        """Give the live objects of a logical server, decoded to plain data."""
        found = await self.rows(
            """SELECT o.kind, o.key, o.spec FROM desired_object o
               JOIN logical_server s ON s.id = o.logical_server_id
               WHERE s.name = %s AND NOT o.deleted""",
            (server,),
        )
        return {(kind, key): msgspec.msgpack.decode(spec) for kind, key, spec in found}

    async def cluster(self) -> None:
        """Make ns1, ns2 and web1, open for signup, each on a box of its own that has connected."""
        for number, (name, group, type_) in enumerate(
            (("ns1", "dns", "bind"), ("ns2", "dns", "bind"), ("web1", "web", "apache")), start=1
        ):
            await self.box(name, number, (group,))
            await self.server(name, group, type_)
            await self.ask(
                "ip.add",
                lserver=f"{name}.example.net",
                first=f"192.0.2.{number}",
                mask="24",
                type="shared" if group == "web" else "service",
            )
            await self.ask("lserver.signup", name=f"{name}.example.net", signup=True)
        await self.write("UPDATE box SET first_seen_at = now()")

    async def box(self, name: str, number: int, groups: tuple[str, ...]) -> Any:
        return await self.ask(
            "pserver.add", name=name, ip=f"198.51.100.{number}", mask="24", groups=groups
        )

    async def server(self, name: str, group: str, type_: str, box: str = "") -> Any:
        return await self.ask(
            "lserver.add",
            name=f"{name}.example.net",
            group=group,
            type=type_,
            pserver=box or name,
        )

    async def shop(self) -> Any:
        """Make the cluster and host shop.test on it for the account acme."""
        await self.cluster()
        await self.ask("account.add", name="acme")
        return await self.ask("domain.add", name="shop.test", account="acme")


def model_on(database: Database, url: str, directory: Path) -> Model:
    """Give the commands on an empty database, its service domain example.net; files in a place."""
    initialise(url, "example.net")
    fleet = NotedFleet()
    secrets = Secrets.create(directory / "secrets.key")
    registry = build_registry(
        EnrolmentInfo("198.51.100.99", 8445, "ab" * 32),
        lambda: float(NOW),
        fleet=fleet,
        secrets=secrets,
        draw=Random(7),
        anchors=(anchors := AnchorFile(directory / "audit-anchors")),
    )
    runner = CommandRunner(
        database,
        registry,
        differences=Differences(fleet, reactor, secrets.inline),
        holding=Holding(secrets),
    )
    return Model(database, runner, fleet, secrets, registry, anchors)


@pytest.fixture
def model(database: Database, database_url: str, tmp_path: Path) -> Model:
    """The commands on a fresh database whose service domain is example.net."""
    return model_on(database, database_url, tmp_path)
