"""Plans of the service type applied to a real Apache on loopback, in the engine's order."""

import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path, PurePosixPath
from threading import Event

import attrs
import psutil
import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from node_agent.box.daemons import DirectDaemons
from node_agent.effects.binding import see_bound
from node_agent.effects.failures import BoxUnavailableError, EffectFailedError
from node_agent.effects.http_probe import probe_http
from node_agent.effects.programs import run_program
from templates.apache.names import HEALTH
from templates.apache.objects import (
    ApacheSettings,
    Certificate,
    ServerSpec,
    SiteSettings,
    SiteSpec,
    site_unit,
)
from templates.apache.service import APACHE, plan
from templates.effects import (
    CheckBound,
    CheckProgram,
    FileEffect,
    MakeDirectory,
    ProbeHttp,
    RemovePath,
    Symlink,
    UnitPlan,
    WriteFile,
    candidate_path,
)
from templates.objects import ObjectId
from templates.service_type import (
    SERVER_ID,
    Endpoint,
    LaneContext,
    PlanRefusedError,
    Unit,
)
from tests.certificates import certificate
from tests.free_ports import free_port
from tests.scratch import scratch

TABLE = {"apache2": PurePosixPath("/usr/sbin/apache2")}


@attrs.frozen
class Answer:
    status: int
    headers: str
    body: str


def ask(port: int, host: bytes | str, path: str = "/", *, version: str = "1.1") -> Answer:
    """One request by hand: no client tidies the Host up on its way."""
    name = host.encode() if isinstance(host, str) else host
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        request = b"GET " + path.encode() + b" HTTP/" + version.encode() + b"\r\n"
        connection.sendall(request + b"Host: " + name + b"\r\nConnection: close\r\n\r\n")
        received = b""
        while data := connection.recv(65536):
            received += data
    head, _, body = received.decode("latin-1").partition("\r\n\r\n")
    return Answer(int(head.split(" ", 2)[1]), head, body)


@attrs.define
class Lane:
    """A lane's directory, what is applied there, and its daemon."""

    context: LaneContext
    daemons: DirectDaemons
    applied: dict[ObjectId, object] = attrs.field(factory=dict)
    checks: int = 0
    reloads: int = 0

    @property
    def root(self) -> Path:
        return Path(self.context.root)

    @property
    def port(self) -> int:
        return int(self.context.server.endpoints[0].port)

    async def put(self, changes: Mapping[ObjectId, object | None]) -> UnitPlan:
        """Plan and apply changed objects, the units that they touch as one; None removes."""
        touched = {
            unit(each, spec)
            for each, change in changes.items()
            for spec in (change, self.applied.get(each))
            if spec is not None
        }
        before = {i: s for i, s in self.applied.items() if unit(i, s) in touched}
        after: dict[ObjectId, object] = dict(before)
        for each, change in changes.items():
            after.pop(each, None)
            if change is not None:
                after[each] = change
        name = max(touched)
        made = plan(self.context, Unit(name, before), Unit(name, after))
        await self.apply(made)
        for each in before:
            del self.applied[each]
        self.applied.update(after)
        return made

    async def apply(self, made: UnitPlan) -> None:
        """Do what a plan says in the engine's order, without its journal."""
        for effect in made.files:
            if isinstance(effect, MakeDirectory):
                (self.root / effect.path).mkdir(mode=effect.mode, parents=True, exist_ok=True)
        for effect in made.files:
            if isinstance(effect, WriteFile):
                write(self.root / candidate_path(effect.path), effect)
        for effect in made.scratch:
            write(self.root / effect.path, effect)
        for check in made.checks:
            await self.check(check)
        for effect in made.scratch:
            (self.root / effect.path).unlink()
        for effect in made.files:
            commit(self.root, effect)
        if not await self.daemons.running(self.context, APACHE.daemon):
            await self.daemons.start(self.context, APACHE.daemon)
        elif made.reload:
            await self.check(APACHE.daemon.check(self.context))
            await self.daemons.reload(self.context, APACHE.daemon)
            self.reloads += 1
        for probe in made.probes:
            assert isinstance(probe, ProbeHttp)
            await probe_http(reactor, self.context.server.endpoints[0], probe)
        for effect in made.retire:
            commit(self.root, effect)

    async def check(self, check: CheckProgram | CheckBound) -> None:
        if isinstance(check, CheckBound):
            see_bound(check.address)
            return
        self.checks += 1
        finished = await run_program(reactor, TABLE, check.program, check.arguments)
        if finished.status:
            raise EffectFailedError(finished.output)

    async def probe(self, probe: ProbeHttp) -> None:
        await probe_http(reactor, self.context.server.endpoints[0], probe)


def unit(object_id: ObjectId, spec: object) -> str:
    return "server" if object_id == SERVER_ID else site_unit(object_id.key, spec)


def write(path: Path, effect: WriteFile) -> None:
    path.write_bytes(effect.content)
    path.chmod(effect.mode)


def commit(root: Path, effect: FileEffect) -> None:
    path = root / effect.path
    match effect:
        case WriteFile(only_if_absent=True) if os.path.lexists(path):
            (root / candidate_path(effect.path)).unlink()
        case WriteFile():
            (root / candidate_path(effect.path)).rename(path)
        case Symlink():
            made = path.with_name(f".{path.name}.new")
            made.symlink_to(effect.target)
            made.rename(path)
        case RemovePath():
            if effect.target is None or (
                path.is_symlink() and str(path.readlink()) == effect.target
            ):
                path.unlink(missing_ok=True)
        case MakeDirectory():
            assert path.is_dir()


def server(port: int, tls_port: int = 0) -> ServerSpec:
    return ServerSpec(
        name="web1",
        endpoints=(Endpoint(address="127.0.0.1", port=port),),
        settings=ApacheSettings(tls_port=tls_port, max_request_workers=50),
        fallback=certificate("neutral.invalid") if tls_port else None,
    )


def site(number: int, **fields: object) -> SiteSpec:
    return SiteSpec(account=7, site=f"s{number}", **fields)  # type: ignore[arg-type]


def key(domain: str) -> ObjectId:
    return ObjectId("site", domain)


def lane_directory() -> Path:
    root = scratch("hs-apache-")
    root.chmod(0o755)
    return root


async def make_lane(tls: bool) -> Lane:
    root = lane_directory()
    spec = server(free_port(), free_port() if tls else 0)
    lane = Lane(
        LaneContext(
            lane="00000000-0000-4000-8000-000000000001",
            server=spec,
            root=PurePosixPath(root),
            daemon_user="www-data" if os.getuid() == 0 else None,
            modules=PurePosixPath("/usr/lib/apache2/modules"),
        ),
        DirectDaemons(reactor, TABLE),
    )
    await lane.put({SERVER_ID: spec})
    return lane


async def remove_lane(lane: Lane) -> None:
    await lane.daemons.stop(lane.context, APACHE.daemon)
    shutil.rmtree(lane.root)


@pytest_twisted.async_yield_fixture
async def lane() -> AsyncIterator[Lane]:
    made = await make_lane(tls=False)
    yield made
    await remove_lane(made)


@pytest_twisted.async_yield_fixture
async def tls_lane() -> AsyncIterator[Lane]:
    made = await make_lane(tls=True)
    yield made
    await remove_lane(made)


@pytest_twisted.ensureDeferred
async def test_plain_site_is_served_without_check_or_reload(lane: Lane) -> None:
    pid = lane.daemons.pid(lane.context, APACHE.daemon)
    checks = lane.checks
    await lane.put({key("shop.test"): site(1)})
    for name in ("shop.test", "www.shop.test", "SHOP.test", "shop.test.", f"shop.test:{lane.port}"):
        answer = ask(lane.port, name)
        assert answer.status == 200
        assert "<h1>shop.test</h1>" in answer.body
    assert (lane.checks, lane.reloads) == (checks, 0)
    assert lane.daemons.pid(lane.context, APACHE.daemon) == pid


@pytest_twisted.ensureDeferred
async def test_each_site_shows_content_of_its_own(lane: Lane) -> None:
    await lane.put({key("one.test"): site(1)})
    await lane.put({key("two.test"): site(2)})
    await lane.put({key("own.test"): site(3, settings=SiteSettings())})
    for name in ("one.test", "two.test", "own.test"):
        assert f"<h1>{name}</h1>" in ask(lane.port, name).body


@pytest_twisted.ensureDeferred
async def test_unknown_and_odd_hosts_never_get_a_customers_page(lane: Lane) -> None:
    await lane.put({key("shop.test"): site(1)})
    await lane.put({key("own.test"): site(2, settings=SiteSettings())})
    (lane.root / "vhosts/.hidden").symlink_to("../sites/s1/htdocs")
    hosts: list[bytes | str] = [
        "unknown.test", "127.0.0.1", "[::1]", "localhost", "", ".", "..", "...", "../sites/s1",
        "..shop.test", "shop..test", "shop.test..", "shop.test/", "/shop.test", "x.shop.test",
        "shop.test%00", "%0", "%2e%2e", "shop.test\tx", "shop.test x", "shop_test", "*", "-",
            "a" * 300,
        "vhosts/shop.test", "vhosts", ".hidden", "shop.test:x", "shop.test:99999999", "@shop.test",
        "user@shop.test", "shop.test\\", "'", '"', "<script>", "${HS_HTTP}", "%{HS_HTTP}",
        b"sh\xc3\xb6p.test", b"\xff\xfe", b"shop.test\x00", b"shop.test\x0bx",
        "default.heliosphere.invalid", "s1", "1.2.3", "xn--a",
    ]  # fmt: skip
    for host in hosts:
        answer = ask(lane.port, host)
        assert answer.status in (400, 403, 404), (host, answer.headers)
        assert "shop.test</h1>" not in answer.body, host
        assert "own.test</h1>" not in answer.body, host
    old = ask(lane.port, "", version="1.0")
    assert old.status in (400, 404)
    assert ask(lane.port, HEALTH).status == 204
    error = ask(lane.port, "unknown.test")
    assert "Server: Apache\r\n" in error.headers + "\r\n"
    assert "<address>" not in error.body


@pytest_twisted.ensureDeferred
async def test_absolute_request_target_cannot_reach_past_the_links(lane: Lane) -> None:
    await lane.put({key("shop.test"): site(1)})
    assert ask(lane.port, "unknown.test", "http://shop.test/").status == 200
    for path in ("/../s2/", "/../../../apache2.conf", "/%2e%2e/apache2.conf", "/..%2fapache2.conf"):
        assert ask(lane.port, "shop.test", path).status in (400, 404)
    assert ask(lane.port, "shop.test", "/.htpasswd").status == 403


@pytest_twisted.ensureDeferred
async def test_own_settings_apply(lane: Lane) -> None:
    settings = SiteSettings(index=("start.html",), indexes=True)
    await lane.put({key("own.test"): site(1, settings=settings, aliases=("other.test",))})
    content = lane.root / "sites/s1/htdocs"
    assert "Index of /" in ask(lane.port, "own.test").body
    (content / "start.html").write_text("the start")
    for name in ("own.test", "www.own.test", "other.test"):
        assert ask(lane.port, name).body == "the start"
    target = "https://new.test/a?b=1&c=%20z#d"
    await lane.put({key("own.test"): site(1, settings=SiteSettings(redirect_to=target))})
    answer = ask(lane.port, "own.test", "/deep/page?x=1")
    assert answer.status == 302
    assert f"Location: {target}\r\n" in answer.headers


@pytest_twisted.ensureDeferred
async def test_switching_kinds_under_load_never_fails_one_request(tls_lane: Lane) -> None:
    lane = tls_lane
    await lane.put({key("shop.test"): site(1)})
    await lane.put({key("near.test"): site(2, settings=SiteSettings(indexes=True))})
    ended = Event()

    def load() -> tuple[int, list[object]]:
        count, wrong = 0, []
        while not ended.is_set():
            count += 1
            try:
                answer = ask(lane.port, "shop.test")
            except OSError as error:
                wrong.append(error)
                continue
            if answer.status != 200 or "<h1>shop.test</h1>" not in answer.body:
                wrong.append(answer)
        return count, wrong

    loads = [deferToThread(load) for _ in range(2)]
    try:
        for _ in range(4):
            await lane.put({key("shop.test"): site(1, settings=SiteSettings(indexes=True))})
            await lane.put({key("shop.test"): site(1, certificate=certificate("shop.test"))})
            await lane.put({key("shop.test"): site(1)})
    finally:
        ended.set()
        results = [await each for each in loads]
    assert lane.reloads == 13
    assert all(count > 20 for count, _ in results)
    assert [wrong for _, wrong in results] == [[], []]
    assert not list((lane.root / "tls").glob("shop.test.*"))


@pytest_twisted.ensureDeferred
async def test_own_certificate_is_shown_and_the_neutral_one_otherwise(tls_lane: Lane) -> None:
    lane = tls_lane
    port = lane.context.server.settings.tls_port
    await lane.put({key("plain.test"): site(1)})
    await lane.put({key("set.test"): site(2, settings=SiteSettings(redirect_to="http://x.test/"))})
    made = await lane.put({key("own.test"): site(3, certificate=certificate("own.test"))})
    own = [probe for probe in made.probes if isinstance(probe, ProbeHttp) and probe.tls]
    assert [(probe.host, len(probe.certificate)) for probe in own] == [("own.test", 64)]
    neutral = next(
        probe.certificate
        for probe in plan(
            lane.context, Unit("server", {}), Unit("server", {SERVER_ID: lane.context.server})
        ).probes
        if isinstance(probe, ProbeHttp) and probe.tls
    )
    for host, statuses in (("plain.test", (200,)), ("set.test", (302,)), ("unknown.test", (404,))):
        await lane.probe(
            ProbeHttp(host, statuses=statuses, tls=True, port=port, certificate=neutral)
        )
    wrong = ProbeHttp(
        "unknown.test", statuses=(404,), tls=True, port=port, certificate=own[0].certificate
    )
    with pytest.raises(EffectFailedError, match="another certificate"):
        await probe_http(reactor, lane.context.server.endpoints[0], wrong, once=True)
    renewed = await lane.put({key("own.test"): site(3, certificate=certificate("own.test"))})
    assert renewed.reload
    assert len(list((lane.root / "tls").glob("own.test.*.pem"))) == 1


@pytest_twisted.ensureDeferred
async def test_broken_certificate_is_refused_and_the_server_lives_on(tls_lane: Lane) -> None:
    lane = tls_lane
    await lane.put({key("shop.test"): site(1)})
    good, other = certificate("own.test"), certificate("other.test")
    for broken in (
        Certificate(chain=good.chain, key=other.key),
        Certificate(
            chain=good.chain, key="-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"
        ),
        Certificate(chain="", key=good.key),
        Certificate(chain=good.chain.replace("A", "B", 5), key=good.key),
    ):
        before = sorted(lane.root.rglob("*"))
        with pytest.raises(PlanRefusedError, match=r"own\.test"):
            await lane.put({key("own.test"): site(2, certificate=broken)})
        assert sorted(lane.root.rglob("*")) == before
    assert lane.reloads == 0
    assert ask(lane.port, "shop.test").status == 200


@pytest_twisted.ensureDeferred
async def test_broken_candidate_is_found_by_its_own_check(lane: Lane) -> None:
    await lane.put({key("own.test"): site(1, settings=SiteSettings())})
    made = plan(
        lane.context,
        Unit("account:7", dict.fromkeys([key("own.test")], lane.applied[key("own.test")])),
        Unit("account:7", {key("own.test"): site(1, settings=SiteSettings(indexes=True))}),
    )
    candidate, content = made.scratch[1].path, made.scratch[1].content
    broken = WriteFile(candidate, content.replace(b"DocumentRoot", b"DocumentRot"))
    write(lane.root / made.scratch[0].path, made.scratch[0])
    write(lane.root / candidate, broken)
    with pytest.raises(EffectFailedError, match="DocumentRot"):
        await lane.check(made.checks[0])


@pytest_twisted.ensureDeferred
async def test_cold_restart_and_kill_serve_everything(tls_lane: Lane) -> None:
    lane = tls_lane
    await lane.put({key("shop.test"): site(1)})
    await lane.put({key("own.test"): site(2, certificate=certificate("own.test"))})
    await lane.daemons.restart(lane.context, APACHE.daemon)
    assert ask(lane.port, "shop.test").status == 200
    pid = lane.daemons.pid(lane.context, APACHE.daemon)
    assert pid is not None
    family = [psutil.Process(pid), *psutil.Process(pid).children()]
    for process in family:
        process.send_signal(signal.SIGKILL)
    psutil.wait_procs(family, timeout=10)
    assert not await lane.daemons.running(lane.context, APACHE.daemon)
    with pytest.raises(BoxUnavailableError):
        await lane.probe(ProbeHttp("shop.test"))
    assert (lane.root / "run/apache2.pid").exists()
    await lane.daemons.start(lane.context, APACHE.daemon)
    for name in ("shop.test", "own.test"):
        assert f"<h1>{name}</h1>" in ask(lane.port, name).body


@pytest_twisted.ensureDeferred
async def test_pid_file_of_another_process_does_not_keep_apache_down(lane: Lane) -> None:
    await lane.daemons.stop(lane.context, APACHE.daemon)
    (lane.root / "run/apache2.pid").write_text(f"{os.getpid()}\n")
    assert not await lane.daemons.running(lane.context, APACHE.daemon)
    await lane.daemons.start(lane.context, APACHE.daemon)
    await lane.probe(ProbeHttp(HEALTH, statuses=(204,)))


@pytest_twisted.ensureDeferred
async def test_removed_sites_are_gone_and_their_content_stays(lane: Lane) -> None:
    own = site(2, settings=SiteSettings())
    await lane.put({key("shop.test"): site(1), key("own.test"): own})
    (lane.root / "sites/s1/htdocs/index.html").write_text("precious")
    await lane.put({key("shop.test"): None})
    await lane.put({key("own.test"): None})
    for name in ("shop.test", "www.shop.test", "own.test", "www.own.test"):
        assert ask(lane.port, name).status == 404
    assert list((lane.root / "vhosts").iterdir()) == []
    assert list((lane.root / "accounts").iterdir()) == []
    assert (lane.root / "sites/s1/htdocs/index.html").read_text() == "precious"


@pytest_twisted.ensureDeferred
async def test_customers_page_is_never_overwritten(lane: Lane) -> None:
    await lane.put({key("shop.test"): site(1)})
    page = lane.root / "sites/s1/htdocs/index.html"
    page.write_text("of the customer")
    await lane.put({key("shop.test"): site(1, settings=SiteSettings(indexes=True))})
    await lane.put({key("shop.test"): site(1, aliases=("more.test",))})
    assert ask(lane.port, "more.test").body == "of the customer"


@pytest_twisted.ensureDeferred
async def test_a_name_taken_over_by_another_site_stays_with_it(lane: Lane) -> None:
    await lane.put({key("one.test"): site(1, aliases=("name.test",))})
    await lane.put({key("two.test"): site(2, aliases=("name.test",))})
    await lane.put({key("one.test"): site(1)})
    assert "<h1>two.test</h1>" in ask(lane.port, "name.test").body


@pytest_twisted.ensureDeferred
async def test_a_new_address_needs_no_new_account_file(lane: Lane) -> None:
    await lane.put({key("own.test"): site(1, settings=SiteSettings(redirect_to="http://x.test/"))})
    account = (lane.root / "accounts/7.conf").stat().st_mtime_ns
    port = free_port()
    old = lane.context.server
    new = attrs.evolve(
        lane.context,
        server=ServerSpec(
            name=old.name,
            endpoints=(*old.endpoints, Endpoint(address="127.0.0.1", port=port)),
            settings=ApacheSettings(
                server_admin="admin@web.test",
                max_request_workers=500,
                miva="mv",
                home_root="/srv/home",
                webshell="webshell4",
            ),
        ),
    )
    lane.context = new
    pid = lane.daemons.pid(new, APACHE.daemon)
    await lane.put({SERVER_ID: new.server})
    await probe_http(reactor, new.server.endpoints[1], ProbeHttp("own.test", statuses=(302,)))
    assert (lane.root / "accounts/7.conf").stat().st_mtime_ns == account
    assert lane.daemons.pid(new, APACHE.daemon) == pid


@pytest.mark.root
@pytest.mark.skipif(os.getuid() != 0, reason="gives a file to another user")
@pytest_twisted.ensureDeferred
async def test_a_customers_link_to_a_file_of_another_owner_is_not_followed(lane: Lane) -> None:
    await lane.put({key("shop.test"): site(1)})
    await lane.put({key("own.test"): site(2, settings=SiteSettings(indexes=True))})
    secret = lane.root / "secret.txt"
    secret.write_text("of another")
    for number, name in ((1, "shop.test"), (2, "own.test")):
        link = lane.root / f"sites/s{number}/htdocs/link.txt"
        link.symlink_to(secret)
        assert ask(lane.port, name, "/link.txt").status == 200
        os.chown(link, 12345, 12345, follow_symlinks=False)
        assert ask(lane.port, name, "/link.txt").status == 403
