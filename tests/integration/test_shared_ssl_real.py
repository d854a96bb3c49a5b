"""Shared certificates over real TLS: which name of a real Apache presents which certificate."""

import hashlib
import socket
import ssl
from collections.abc import AsyncIterator

import attrs
import msgspec
import pytest_twisted
from twisted.internet.threads import deferToThread

from node_agent.effects.failures import EffectFailedError
from templates.apache.objects import Certificate, ServerSpec, SharedCertificate, SiteSettings
from templates.apache.service import APACHE
from templates.service_type import SERVER_ID
from tests.certificates import certificate
from tests.integration.test_apache_real import Lane, ask, key, make_lane, remove_lane, site


@attrs.frozen
class Told:
    """What a client of a name is shown: the digest of the certificate, and the page."""

    certificate: str
    status: int
    body: str


def digest(pair: Certificate) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pair.chain)).hexdigest()


@attrs.frozen
class Shop:
    """A web server with TLS, and what is shared there."""

    lane: Lane

    @property
    def fallback(self) -> str:
        pair = self.lane.context.server.fallback
        assert pair is not None
        return digest(pair)

    async def share(self, *shared: tuple[str, Certificate]) -> None:
        before: ServerSpec = self.lane.context.server
        items = tuple(SharedCertificate(domain=name, certificate=pair) for name, pair in shared)
        after = msgspec.structs.replace(before, shared=items or msgspec.UNSET)
        self.lane.context = attrs.evolve(self.lane.context, server=after)
        try:
            await self.lane.put({SERVER_ID: after})
        except EffectFailedError:
            self.lane.context = attrs.evolve(self.lane.context, server=before)
            raise

    async def told(self, name: str) -> Told:
        return await deferToThread(_ask, self.lane.context.server.settings.tls_port, name)

    @property
    def files(self) -> set[str]:
        return {path.name for path in (self.lane.root / "tls").glob("shared_*")}


def _ask(port: int, name: str) -> Told:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname=name) as tls,
    ):
        shown = tls.getpeercert(binary_form=True)
        assert shown
        tls.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        received = b""
        while data := tls.recv(65536):
            received += data
    head, _, body = received.decode("latin-1").partition("\r\n\r\n")
    return Told(hashlib.sha256(shown).hexdigest(), int(head.split(" ", 2)[1]), body)


@pytest_twisted.async_yield_fixture
async def shop() -> AsyncIterator[Shop]:
    lane = await make_lane(tls=True)
    yield Shop(lane)
    await remove_lane(lane)


@pytest_twisted.ensureDeferred
async def test_r278_names_below_a_domain_share_its_certificate_and_others_do_not(
    shop: Shop,
) -> None:
    lane = shop.lane
    own = certificate("proud.shared.test")
    await lane.put({key("plain.shared.test"): site(1), key("other.test"): site(2)})
    await lane.put(
        {
            key("set.shared.test"): site(3, settings=SiteSettings(index=("index.html",))),
            key("proud.shared.test"): site(4, certificate=own),
            key("set.other.test"): site(5, settings=SiteSettings(index=("index.html",))),
        }
    )
    for name in ("plain.shared.test", "set.shared.test"):
        assert (await shop.told(name)).certificate == shop.fallback
    pair = certificate("*.shared.test")
    await shop.share(("shared.test", pair))
    # Without a word to the sites: a plain one, one with settings, and a name that nobody has.
    # Apache's * stands for more than one label: deeper names present what is not for them.
    for name, status in (("plain", 200), ("set", 200), ("nobody", 404), ("deep.er", 404)):
        told = await shop.told(f"{name}.shared.test")
        assert (told.certificate, told.status) == (digest(pair), status), name
    assert "<h1>plain.shared.test</h1>" in (await shop.told("plain.shared.test")).body
    assert (await shop.told("proud.shared.test")).certificate == digest(own)
    for name in ("other.test", "set.other.test", "shared.test", "unknown.test"):
        assert (await shop.told(name)).certificate == shop.fallback, name
    assert ask(lane.port, "plain.shared.test").status == 200


@pytest_twisted.ensureDeferred
async def test_r277_a_new_pair_takes_the_place_of_the_former_and_its_file_goes(shop: Shop) -> None:
    await shop.lane.put({key("a.shared.test"): site(1)})
    first, second = certificate("*.shared.test"), certificate("*.shared.test")
    await shop.share(("shared.test", first))
    (file,) = shop.files
    mode = (shop.lane.root / "tls" / file).stat().st_mode
    assert mode & 0o777 == 0o600
    await shop.share(("shared.test", second))
    assert (await shop.told("a.shared.test")).certificate == digest(second)
    assert len(shop.files) == 1
    assert file not in shop.files
    await shop.share()
    assert (await shop.told("a.shared.test")).certificate == shop.fallback
    assert shop.files == set()


@pytest_twisted.ensureDeferred
async def test_r278_the_nearest_domain_is_the_one_that_counts(shop: Shop) -> None:
    wide, near = certificate("*.shared.test"), certificate("*.eu.shared.test")
    await shop.lane.put({key("a.eu.shared.test"): site(1), key("a.shared.test"): site(2)})
    await shop.share(("shared.test", wide), ("eu.shared.test", near))
    assert (await shop.told("a.eu.shared.test")).certificate == digest(near)
    assert (await shop.told("a.shared.test")).certificate == digest(wide)


@pytest_twisted.ensureDeferred
async def test_a_site_removed_leaves_the_shared_pair_in_place(shop: Shop) -> None:
    """The same wildcard may be a site's own: one file each, so that neither takes the other's."""
    pair = certificate("*.a.test")
    await shop.share(("a.test", pair))
    await shop.lane.put({key("shared.a.test"): site(1, certificate=pair)})
    await shop.lane.put({key("shared.a.test"): None})
    assert len(shop.files) == 1
    await shop.share(("a.test", pair), ("b.test", certificate("*.b.test")))
    assert (await shop.told("x.a.test")).certificate == digest(pair)


@pytest_twisted.ensureDeferred
async def test_a_server_that_starts_cold_shares_what_it_did(shop: Shop) -> None:
    pair = certificate("*.shared.test")
    await shop.lane.put({key("a.shared.test"): site(1, settings=SiteSettings(indexes=True))})
    await shop.share(("shared.test", pair))
    lane = shop.lane
    await lane.daemons.stop(lane.context, APACHE.daemon)
    await lane.daemons.start(lane.context, APACHE.daemon)
    assert (await shop.told("a.shared.test")).certificate == digest(pair)
