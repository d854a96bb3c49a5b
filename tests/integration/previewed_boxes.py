"""A model whose two boxes run real named and Apache: what is planned is asked of the real agents.

Questions and answers go through the wire's codec, objects come as the dispatcher would send them.
"""

import re
from collections.abc import Callable
from typing import Any

import attrs
import msgspec
from twisted.internet import reactor

from controller.fleet.differences import Differences, LaneDifferences
from controller.fleet.lane_store import backlogs
from controller.fleet.questions import BoxAwayError
from controller.runner import CommandResult, CommandRunner
from controller.storage.database import Transaction
from node_agent.answering import Answering
from node_agent.differing import Redaction
from node_agent.entries import Undo
from node_agent.wire.codec import decode_from_agent, decode_from_controller, encode
from node_agent.wire.messages import Answer, Item, Question
from node_agent.wire.questions import AnyAsk, AnyFound
from templates.effects import ControlEffect
from tests.free_ports import free_port
from tests.integration.model import OPERATOR, Model
from tests.integration.real_lane import RealLane
from tests.patching import patched

NS1, WEB1 = "ns1.example.net", "web1.example.net"
_undo = msgspec.msgpack.Decoder(Undo)


@attrs.define
class Done:
    """What a lane really did: the bodies of its journal, and what its daemon was told."""

    undos: list[Undo] = attrs.field(factory=list)
    control: list[ControlEffect] = attrs.field(factory=list)
    daemon: list[str] = attrs.field(factory=list)


@attrs.define
class PreviewedBoxes:
    """The boxes by the id of their logical server; ``asks`` counts questions."""

    model: Model
    lanes: dict[str, RealLane] = attrs.field(factory=dict)
    ids: dict[str, str] = attrs.field(factory=dict)
    done: dict[str, Done] = attrs.field(factory=dict)
    away: bool = False

    @classmethod
    async def start(cls, model: Model) -> "PreviewedBoxes":
        boxes = cls(model)
        model.runner = CommandRunner(
            model.database,
            model.registry,
            differences=Differences(boxes, reactor, model.secrets.inline),
        )
        settings: dict[str, Any] = {"control_port": free_port()}
        await boxes._add("ns1", "dns", "bind", settings)
        await boxes._add("web1", "web", "apache", {})
        await model.write("UPDATE box SET first_seen_at = now()")
        await boxes.deliver()
        return boxes

    async def _add(self, name: str, group: str, type_: str, settings: dict[str, Any]) -> None:
        server = f"{name}.example.net"
        await self.model.box(name, 1 + len(self.lanes), (group,))
        await self.model.ask(
            "lserver.add", name=server, group=group, type=type_, pserver=name, settings=settings
        )
        ((id,),) = await self.model.rows(
            "SELECT id::text FROM logical_server WHERE name = %s", (server,)
        )
        lane = RealLane(type_, id=id)
        await self.model.ask(
            "ip.add",
            lserver=server,
            first="127.0.0.1",
            mask="32",
            type="service" if group == "dns" else "shared",
            port=lane.endpoint.port,
        )
        await self.model.ask("lserver.signup", name=server, signup=True)
        await lane.start()
        self.lanes[id], self.ids[server], self.done[server] = lane, id, Done()
        _note(lane, self.done[server])

    async def end(self) -> None:
        for lane in self.lanes.values():
            await lane.end()

    def lane(self, server: str) -> RealLane:
        return self.lanes[self.ids[server]]

    # --- as the fleet ---

    async def ask(self, box: str, ask: AnyAsk, seconds: float) -> AnyFound:
        if self.away:
            raise BoxAwayError("the box is not connected")
        answering = Answering(reactor, {}, None)  # type: ignore[arg-type]
        asked = decode_from_controller(encode(Question(id=1, seconds=seconds, ask=ask)))
        assert isinstance(asked, Question)
        told = await answering.answer(asked, [each.lane for each in self.lanes.values()])
        answer = decode_from_agent(encode(told))
        assert isinstance(answer, Answer)
        return answer.found

    async def deliver(self) -> None:
        """Send every lane what it has not stored, and wait until it is applied."""
        for id, lane in self.lanes.items():
            items = await self._items(id, lane.revision)
            if items:
                lane.revision = items[-1].revision
                outcomes = await lane.take_items(items)
                assert set(outcomes.values()) == {"applied"}, (outcomes, lane.words())

    async def _items(self, id: str, stored: int) -> list[Item]:
        async def read(tx: Transaction) -> list[Item]:
            found = (await backlogs(tx, {("box", id): stored}))["box", id]
            items = []
            for each in found.objects:
                spec = each.spec
                if spec is not None:
                    spec = await self.model.secrets.inline(tx, spec, each.secrets)
                items.append(
                    Item(each.kind, each.key, each.revision, each.kind_version, spec, each.requires)
                )
            return items

        return await self.model.database.transaction(OPERATOR, read, name="test")

    # --- as a person ---

    async def preview(self, command: str, /, **fields: Any) -> dict[str, LaneDifferences]:
        """Give what a write would do, by logical server."""
        done = await self.model.run(command, dry_run=True, differences=True, **fields)
        assert done.plan is not None
        assert done.plan.differences is not None
        return {each.logical_server: each for each in done.plan.differences}

    async def apply(self, command: str, /, **fields: Any) -> CommandResult:
        for done in self.done.values():
            done.undos.clear()
            done.control.clear()
            done.daemon.clear()
        answer = await self.model.run(command, **fields)
        await self.deliver()
        return answer


def _note(lane: RealLane, done: Done) -> None:
    """Have what a lane opens in its journal, and says to its daemon, be noted."""
    opens, box = lane.journal.entries.open, lane.lane.box

    def open_entry(id: str, phase: Any, body: bytes) -> int:
        if phase == "apply":
            done.undos.append(_undo.decode(body))
        return opens(id, phase, body)

    lane.journal.entries.open = open_entry  # type: ignore[method-assign]
    control = box.control

    async def told(effect: ControlEffect) -> None:
        done.control.append(effect)
        await control(effect)

    box.control = told  # type: ignore[method-assign]
    for name in ("start", "stop", "restart", "reload"):
        setattr(box, name, _noted(getattr(box, name), name, done))


def _noted(function: Callable[[], Any], name: str, done: Done) -> Callable[[], Any]:
    async def run() -> None:
        done.daemon.append(name)
        await function()

    return run


Snapshot = dict[str, tuple[str, str, str, bytes]]
"""Path -> (kind, mode, owner, content or target)."""
_OF_THE_DAEMON = ("state/", "logs/", "run/")


def snapshot(lane: RealLane, *, whole: bool = False) -> Snapshot:
    """Give all that stands below a lane's directory; not ``whole``: but for what the daemon has."""
    found: Snapshot = {}
    for path in sorted(lane.root.rglob("*")):
        name = str(path.relative_to(lane.root))
        if not whole and f"{name}/".startswith(_OF_THE_DAEMON):
            continue
        status = path.lstat()
        owner = f"{status.st_uid}:{status.st_gid}"
        if path.is_symlink():
            found[name] = ("link", "", "", str(path.readlink()).encode())
        elif path.is_dir():
            found[name] = ("directory", f"{status.st_mode & 0o7777:04o}", owner, b"")
        elif path.is_file():
            mode = f"{status.st_mode & 0o7777:04o}"
            found[name] = ("file", mode, owner, path.read_bytes())
        else:
            found[name] = ("other", "", "", b"")
    return found


def with_number(told: LaneDifferences, before: Snapshot, after: Snapshot) -> LaneDifferences:
    """Give what was told of a new site with the number that the change itself has drawn."""
    folder = re.compile(r"^sites/s[0-9]+$")
    (drawn,) = (each.path for each in told.files if folder.match(each.path))
    (real,) = (path for path in after.keys() - before.keys() if folder.match(path))
    text = msgspec.json.encode(told).decode()
    assert drawn in text
    return msgspec.json.decode(text.replace(drawn, real), type=LaneDifferences)


def check(before: Snapshot, told: LaneDifferences, after: Snapshot) -> set[str]:
    """See that ``after`` is ``before`` with exactly the differences told; give private paths."""
    assert told.known, told.words
    assert not told.cut
    private = set()
    expected = dict(before)
    for file in told.files:
        assert not file.cut
        assert (file.action == "create") == (file.path not in before), file
        if file.action == "remove":
            del expected[file.path]
            continue
        have = before.get(file.path, ("file", "", "", b""))[3]
        want = after[file.path][3]
        if file.kind == "link":
            expected[file.path] = ("link", "", "", file.target.encode())
            continue
        if file.kind == "file" and "private" in file.words:
            private.add(file.path)
        elif file.kind == "file":
            redact = Redaction()
            redacted = redact(want.decode())
            assert patched(redact(have.decode()), file.lines) == redacted
            if redacted == want.decode() and redact(have.decode()) == have.decode():
                want = patched(have.decode(), file.lines).encode()
        expected[file.path] = (file.kind, file.mode, file.owner, want)
    assert after == expected
    return private
