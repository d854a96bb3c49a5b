"""Sites with settings and certificates of their own, through controller, agent and real Apache."""

import json
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from uuid import uuid4

import attrs
import pytest

from controller.local.layout import Layout
from tests.certificates import certificate
from tests.faults.cluster_under_fault import Answer, Broken, broken_cluster
from tests.local_cluster import Ran, eventually
from tests.web_asking import Asker, Page

pytestmark = pytest.mark.timeout(300)

NEUTRAL = "web1.heliosphere.test"
FIRST_PAGE = "<h1>{}</h1>"


@attrs.frozen
class Sites:
    """The cluster as these tests use it."""

    broken: Broken
    web: Asker
    lane: Path

    def domain(self, name: str, account: str = "acme") -> str:
        self.hsctl("domain", "add", name, "--account", account)
        return name

    def hsctl(self, *words: str) -> str:
        return self.broken.cluster.good(*words)

    def refused(self, *words: str) -> Ran:
        """Run hsctl; it must refuse in one line, with nothing written and nothing changed."""
        before = self.state()
        ran = self.broken.cluster.hsctl(*words)
        assert ran.code == 1, ran
        assert len([line for line in ran.err.splitlines() if line.startswith("hsctl: ")]) == 1
        assert self.state() == before
        return ran

    def state(self) -> tuple[str, list[str]]:
        """Give what tells whether anything was written, in the model or on the box."""
        changes = self.hsctl("change", "list", "-o", "json")
        return changes, sorted(str(path) for path in self.lane.rglob("*"))

    def patch(self, name: str, **fields: object) -> Answer:
        path = f"/domains/{name}/site"
        return self.broken.api.insist("PATCH", path, fields, key=str(uuid4()))

    def pair(self, name: str) -> tuple[str, ...]:
        """Write a new certificate and key; give hsctl's options for them."""
        made = certificate(name)
        folder = self.broken.cluster.home
        (folder / "chain.pem").write_text(made.chain)
        (folder / "key.pem").write_text(made.key)
        return "--certificate", str(folder / "chain.pem"), "--key", str(folder / "key.pem")

    def content(self, name: str) -> Path:
        return (self.lane / "vhosts" / name).resolve()

    def show(self, name: str) -> dict[str, object]:
        shown: dict[str, object] = json.loads(self.hsctl("site", "show", name, "-o", "json"))
        return shown


@pytest.fixture(scope="module")
def sites() -> Iterator[Sites]:
    with broken_cluster() as broken:
        plan = Layout(broken.cluster.folder).read_plan()
        assert plan is not None
        (box,) = [box for box in plan.boxes if box.name == "web1"]
        assert box.tls is not None
        servers = broken.cluster.folder / "boxes" / "web1" / "state" / "lservers"
        (lane,) = servers.iterdir()
        broken.cluster.good("account", "add", "acme")
        broken.cluster.good("lserver", "set", NEUTRAL, "reload_rest=0")
        yield Sites(broken, Asker(box.endpoint.address, box.endpoint.port, box.tls.port), lane)


def test_r355_a_dedicated_address_is_answered_on_while_a_site_has_it(sites: Sites) -> None:
    own = attrs.evolve(sites.web, address="127.0.77.1")
    name = sites.domain("dedicated.test")
    sites.hsctl("ip", "add", NEUTRAL, "--from", own.address, "--mask", "32", "--type", "dedicated")
    with pytest.raises(ConnectionError):
        own.get(name)
    sites.hsctl("site", "address", name, "--dedicated")
    assert FIRST_PAGE.format(name) in own.get(name).text
    assert FIRST_PAGE.format(name) in sites.web.get(name).text
    assert own.tls(name).certificate == NEUTRAL
    sites.hsctl("site", "address", name, "--shared")
    with pytest.raises(ConnectionError):
        own.get(name)
    assert FIRST_PAGE.format(name) in sites.web.get(name).text


def test_own_index_documents_come_and_go(sites: Sites) -> None:
    name = sites.domain("index.test")
    (sites.content(name) / "start.html").write_text("the start")
    sites.hsctl("site", "set", name, "--index", "start.html,index.html")
    assert sites.web.get(name).text == "the start"
    assert sites.show(name)["settings"] == {
        "index": ["start.html", "index.html"],
        "indexes": False,
        "redirect_to": "",
    }
    sites.hsctl("site", "set", name, "--index", "")
    assert FIRST_PAGE.format(name) in sites.web.get(name).text
    assert sites.show(name)["settings"] is None


def test_a_redirect_comes_and_goes_for_every_path_and_name(sites: Sites) -> None:
    name = sites.domain("moved.test")
    sites.hsctl("site", "set", name, "--redirect-to", "https://bücher.test/~a/b,(c)?x=1&y=%20;2#z")
    for host in (name, f"www.{name}"):
        for answer in (sites.web.get(host, "/deep/page?q=1"), sites.web.tls(host)):
            assert answer.status == 302
            assert answer.headers["Location"] == "https://xn--bcher-kva.test/~a/b,(c)?x=1&y=%20;2#z"
    sites.hsctl("site", "set", name, "--redirect-to", "")
    assert FIRST_PAGE.format(name) in sites.web.get(name).text


def test_a_directory_listing_comes_and_goes(sites: Sites) -> None:
    name = sites.domain("files.test")
    (sites.content(name) / "album").mkdir()
    (sites.content(name) / "album" / "photo.txt").write_text("a photo")
    assert sites.web.get(name, "/album/").status == 403
    sites.hsctl("site", "set", name, "--indexes")
    assert "photo.txt" in sites.web.get(name, "/album/").text
    sites.hsctl("site", "set", name, "--no-indexes")
    assert sites.web.get(name, "/album/").status == 403


def test_an_own_certificate_comes_and_goes(sites: Sites) -> None:
    """What is not served any more is removed a moment after the change is live."""

    def files() -> set[Path]:
        return set((sites.lane / "tls").glob("own.test.*"))

    name = sites.domain("own.test")
    assert sites.web.tls(name).certificate == NEUTRAL
    sites.hsctl("site", "set", name, *sites.pair(name))
    for host in (name, f"www.{name}"):
        page = sites.web.tls(host)
        assert (page.certificate, FIRST_PAGE.format(name) in page.text) == (name, True)
    former = files()
    assert [file.stat().st_mode & 0o777 for file in former] == [0o600]
    sites.hsctl("site", "set", name, *sites.pair(name))
    assert eventually(lambda: len(files()) == 1 and not former & files())
    assert sites.show(name)["has_certificate"] is True
    sites.hsctl("site", "set", name, "--no-certificate")
    page = sites.web.tls(name)
    assert (page.certificate, FIRST_PAGE.format(name) in page.text) == (NEUTRAL, True)
    assert eventually(lambda: files() == set())


def test_p6_a_name_without_a_certificate_is_shown_the_neutral_one(sites: Sites) -> None:
    near, plain, settled = (sites.domain(f"p6-{each}.test") for each in ("near", "plain", "set"))
    sites.hsctl("site", "set", near, *sites.pair(near))
    sites.hsctl("site", "set", settled, "--indexes")
    for newest in (None, ssl.TLSVersion.TLSv1_2):
        for name in (plain, settled, "unknown.test", f"deep.{near}", None):
            assert sites.web.tls(name, newest=newest).certificate == NEUTRAL
        assert sites.web.tls(near, newest=newest).certificate == near


def test_no_page_is_shown_under_a_certificate_of_another_site(sites: Sites) -> None:
    own = one, two = sites.domain("mix-one.test"), sites.domain("mix-two.test")
    plain = sites.domain("mix-plain.test")
    for name in own:
        sites.hsctl("site", "set", name, *sites.pair(name))
    for shown in (*own, plain, "unknown.test", None):
        for host in (*own, plain, "unknown.test"):
            page = sites.web.tls(shown, host=host)
            if shown == host in own or (shown not in own and host == plain):
                assert FIRST_PAGE.format(host) in page.text, (shown, host, page)
            else:
                assert "mix-" not in page.text, (shown, host, page)
                assert page.status == (421 if {shown, host} & {one, two} else 404)


def test_sites_of_an_account_share_one_file_and_others_have_theirs(sites: Sites) -> None:
    sites.hsctl("account", "add", "beta")
    mine = [sites.domain(f"beta-{number}.test", "beta") for number in range(3)]
    before = {path.name for path in (sites.lane / "accounts").iterdir()}
    for name in mine:
        sites.hsctl("site", "set", name, "--index", "index.html")
    (new,) = [p for p in (sites.lane / "accounts").iterdir() if p.name not in before]
    names = [line.split('"')[1] for line in new.read_text().splitlines() if "ServerName" in line]
    assert names == [name for name in mine for _ in ("http", "https")]
    sites.hsctl("site", "set", mine[1], "--plain")
    assert mine[1] not in new.read_text()
    for name in mine:
        assert FIRST_PAGE.format(name) in sites.web.get(name).text
    for name in mine:
        sites.hsctl("site", "set", name, "--plain")
    assert eventually(lambda: not new.exists())


def test_www_is_an_alias_until_it_is_a_domain_of_its_own(sites: Sites) -> None:
    name, www = sites.domain("alias.test"), "www.alias.test"
    sites.hsctl("site", "set", name, *sites.pair(name))
    assert FIRST_PAGE.format(name) in sites.web.get(www).text
    sites.domain(www)
    for page in (sites.web.get(www), sites.web.tls(www)):
        assert FIRST_PAGE.format(www) in page.text
    assert sites.web.tls(www).certificate == NEUTRAL
    sites.hsctl("site", "set", www, "--indexes", *sites.pair(www))
    assert sites.web.tls(www).certificate == www
    sites.hsctl("site", "set", name, "--redirect-to", f"https://{www}/")
    assert FIRST_PAGE.format(www) in sites.web.get(www).text
    assert sites.web.get(name).headers["Location"] == f"https://{www}/"
    sites.hsctl("site", "set", name, "--redirect-to", "")
    sites.hsctl("domain", "delete", www, "--yes")
    for page in (sites.web.get(www), sites.web.tls(www)):
        assert FIRST_PAGE.format(name) in page.text
    assert sites.web.tls(www).certificate == name


def test_an_account_with_many_sites_of_both_kinds(sites: Sites) -> None:
    sites.hsctl("account", "add", "many")
    names = [f"many-{number}.test" for number in range(30)]
    for name in names:
        body = {"name": name, "account": "many"}
        made = sites.broken.api.insist("POST", "/domains", body, key=name)
        assert made.status < 300, made
    for name in names[::2]:
        assert sites.patch(name, indexes=True).body["change"] is not None
    pair = certificate(names[0])
    last = sites.patch(names[0], certificate=pair.chain, key=pair.key)
    sites.hsctl("change", "watch", str(last.body["change"]))
    assert sites.web.tls(names[0]).certificate == names[0]
    for name in names:
        assert FIRST_PAGE.format(name) in sites.web.get(name).text
    assert sites.hsctl("fault", "list", "-o", "json").strip() == "[]"


def test_a_deleted_domain_leaves_no_page_no_certificate_and_no_key(sites: Sites) -> None:
    name = sites.domain("gone.test")
    kept = sites.broken.rows("SELECT name FROM secret ORDER BY name")
    sites.hsctl("site", "set", name, "--indexes", *sites.pair(name))
    content = sites.content(name)
    (content / "index.html").write_text("precious")
    sites.hsctl("domain", "delete", name, "--yes")
    for host in (name, f"www.{name}"):
        assert sites.web.get(host).status == 404
        assert sites.web.tls(host).certificate == NEUTRAL
    # What is retired goes a moment after the change is live.
    assert eventually(lambda: not [p for p in _files(sites.lane) if name in p.name])
    assert (content / "index.html").read_text() == "precious"
    assert sites.broken.rows("SELECT name FROM secret ORDER BY name") == kept
    sites.domain(name)
    assert "precious" not in sites.web.get(name).text


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.parent.name != "logs"]


def test_a_broken_certificate_is_refused_with_422_before_anything_is_written(sites: Sites) -> None:
    name = sites.domain("broken.test")
    good, other = certificate(name), certificate("another.test")
    before = sites.state()
    for chain, key, field in (
        ("nonsense", good.key, "certificate"),
        (good.chain.replace("A", "B", 8), good.key, "certificate"),
        (good.chain + other.chain, good.key, "certificate"),
        (other.chain, other.key, "certificate"),
        (good.chain, other.key, "key"),
        (good.chain, "nonsense", "key"),
        (good.chain, "", "key"),
        (None, good.key, "certificate"),
    ):
        answer = sites.patch(name, certificate=chain, key=key)
        assert (answer.status, answer.kind) == (422, "application/problem+json"), answer
        assert (answer.body["field"], "PRIVATE KEY" in str(answer.body)) == (field, False)
    assert sites.state() == before
    assert sites.web.tls(name).certificate == NEUTRAL


@pytest.mark.parametrize(
    "words",
    [
        ("--redirect-to", "http://u%0areturn@x/"),
        ("--redirect-to", "http://x.test/a$1b"),
        ("--redirect-to", "http://x.test/a%20b"),
        ("--redirect-to", "http://x.test/%{HTTP_HOST}"),
        ("--redirect-to", 'http://x.test/"\nInclude /etc/passwd'),
        ("--redirect-to", "https://www.hostile.test/"),
        ("--index", "disabled"),
        ("--index", "../../apache2.conf"),
        ("--index", ",".join(f"{number}.html" for number in range(21))),
    ],
)
def test_s17_hostile_settings_are_refused_before_anything_is_written(
    sites: Sites, words: tuple[str, ...]
) -> None:
    if "hostile.test" not in sites.hsctl("domain", "list"):
        sites.domain("hostile.test")
    sites.refused("site", "set", "hostile.test", *words)


def test_p4_a_bad_setting_is_quarantined_alone(sites: Sites) -> None:
    sites.hsctl("account", "add", "poison")
    bad, near = (sites.domain(f"poison-{each}.test", "poison") for each in ("bad", "near"))
    sites.hsctl("site", "set", bad, "--index", "index.html")
    # No command takes it: it comes from a program with older rules.
    sites.broken.rows(
        """UPDATE site SET settings = jsonb_build_object('redirect_to', 'http://x.test/$1')
           WHERE domain_id = (SELECT id FROM domain WHERE name = %s)""",
        (bad,),
    )
    ran = sites.broken.cluster.hsctl("site", "set", bad, "--indexes")
    assert (ran.code, "quarantined" in ran.err) == (4, True), ran
    sites.hsctl("site", "set", near, "--indexes", *sites.pair(near))
    assert sites.web.tls(near).certificate == near
    assert FIRST_PAGE.format(bad) in sites.web.get(bad).text
    faults = json.loads(sites.hsctl("fault", "list", "-o", "json"))
    assert [fault["key"] for fault in faults] == [bad]
    sites.hsctl("site", "set", bad, "--redirect-to", "http://x.test/")
    assert sites.web.get(bad).headers["Location"] == "http://x.test/"
    assert sites.hsctl("fault", "list", "-o", "json").strip() == "[]"


def test_going_between_the_kinds_fails_not_one_request(sites: Sites) -> None:
    name, near = sites.domain("busy.test"), sites.domain("busy-near.test")
    ended = Event()

    def asking(host: str, *, secured: bool) -> tuple[int, list[object]]:
        count, wrong = 0, []
        while not ended.is_set():
            count += 1
            try:
                page: Page | OSError = sites.web.tls(host) if secured else sites.web.get(host)
            except OSError as error:
                page = error
            if not isinstance(page, Page) or FIRST_PAGE.format(host) not in page.text:
                wrong.append(page)
        return count, wrong

    with ThreadPoolExecutor(4) as pool:
        loads = [
            pool.submit(asking, host, secured=secured)
            for host in (name, near)
            for secured in (False, True)
        ]
        try:
            for words in (
                ("--indexes",),
                ("--plain",),
                sites.pair(name),
                ("--index", "index.html", "--no-certificate"),
                ("--plain",),
            ):
                sites.hsctl("site", "set", name, *words)
        finally:
            ended.set()
        results = [load.result() for load in loads]
    assert [wrong for _, wrong in results] == [[]] * 4
    assert min(count for count, _ in results) > 10


_HOSTILE_HOSTS = (
    b"..", b".", b"../sites/s1", b"..\\sites", b"a/../victim.test", b"victim.test/..", b"*", b"",
    b"./victim.test", b"victim.test@evil.test", b"evil@victim.test", b"victim.test,evil.test",
    b"victim.test evil", b"%2e%2e", b"%0", b"$0", b"%{HTTP_HOST}", b"victim.test\0", b"localhost",
    b"victim.test%00", b"\xc3\xa4victim.test", b".victim.test", b"victim.test..", b"victim.test:x",
    b"victim.test:99999", b"deep.victim.test", b"victim", b"ictim.test", b"x." * 150, b"a" * 300,
    b"default.heliosphere.invalid", b"127.0.0.1", b"[::1]",
)  # fmt: skip


def test_s28_a_hostile_host_never_gets_a_page_or_a_file_of_the_server(sites: Sites) -> None:
    name = sites.domain("victim.test")
    sites.hsctl("site", "set", name, "--indexes")
    assert FIRST_PAGE.format(name).encode() in sites.web.raw(_request(b"VICTIM.test.:1"))
    for host in _HOSTILE_HOSTS:
        for path in (b"/", b"/apache2.conf", b"/htdocs/index.html", b"/victim.test/"):
            _assert_neutral(sites.web.raw(_request(host, path)), host)
    for request in (
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: victim.test\r\nHost: x.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : victim.test\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: victim.test\r\n\r\n",
        b"GET http://x.test/ HTTP/1.1\r\nHost: victim.test\r\nConnection: close\r\n\r\n",
        _request(b"x.test\r\nX-Forwarded-Host: victim.test"),
    ):
        _assert_neutral(sites.web.raw(request), request)


def _request(host: bytes, path: bytes = b"/") -> bytes:
    return b"GET " + path + b" HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n"


def _assert_neutral(answer: bytes, about: bytes) -> None:
    assert b"victim.test</h1>" not in answer, about
    assert b"ServerRoot" not in answer, about
    assert b"Index of" not in answer, about
    if answer.startswith(b"HTTP/"):
        assert answer.split()[1] in (b"400", b"403", b"404"), (about, answer[:80])
