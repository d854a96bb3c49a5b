"""S17: no field of a site or server becomes a directive of its own in what Apache reads.

Hostile values go through every field. Planning refuses one, or what it writes parses back, by a
reader that knows nothing of our templates, to the same directives with just that value in its
place.
"""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import PurePosixPath
from typing import Any

import attrs
import msgspec
import pytest

from templates.apache.objects import (
    ApacheSettings,
    Certificate,
    ServerSpec,
    SiteSettings,
    SiteSpec,
    site_unit,
)
from templates.apache.service import plan
from templates.effects import UnitPlan, WriteFile
from templates.objects import ObjectId
from templates.service_type import SERVER_ID, Endpoint, LaneContext, PlanRefusedError, Unit
from tests.certificates import certificate

Directive = tuple[str, ...]
"""Name (lower case; sections with ``<``) and arguments, after the depth of nesting."""

PAIR = certificate("shop.test")
_PARTS = (
    "\n", "\r", "\r\n", "\0", "\x0b", "\x0c", "\x1b[31m", "\x85", "\u2028", "\u2029", "\u202e",
    "\t", " ", "  ", '"', "'", "`", "\\", "\\\n", '\\"', ";", "}", "{", "#", "$", "${HS_HTTP}",
    "${PATH}", "%", "%0", "%{HTTP_HOST}", "%{env:PATH}", "$1", "$0", "$INCLUDE", "<", ">",
    "</VirtualHost>",
    "<?php", "|", "&", "*", "?", "[a]", "!", "@", "/", "//", "/../", "..", ".", "-", "--", "=", ",",
    "\u00e4", "\uff0f", "\u0131", "%0a", "%0d%0a", "%00", "a" * 70, "a" * 300, "a" * 70000,
)  # fmt: skip
HOSTILE = tuple(
    dict.fromkeys(
        [
            *_PARTS,
            *(f"shop{part}.test" for part in _PARTS),
            *(f"{part}shop.test" for part in _PARTS),
            *(f"http://x.test/{part}ServerAdmin" for part in _PARTS),
            *(f"http://u{part}@x.test/" for part in _PARTS),
            "",
            "x.test\nServerAdmin evil",
            'x.test"\nServerAdmin "evil',
            "x.test\n</VirtualHost>",
            "x.test\nInclude /etc/passwd",
            "x.test\\\nInclude /etc/passwd",
            "disabled",
            "Disabled",
            "http://u%0areturn@x/",
            "javascript:alert(1)",
            "//x.test",
            "http:///x",
            "ftp://x.test/",
            "127.0.0.1",
            "::1",
            "health.heliosphere.invalid",
            "heliosphere.invalid",
            "-x.test",
            "x-.test",
            "x..test",
            ".x.test",
            "x.test.",
            "X.test",
            "_x.test",
            "*.x.test",
            "localhost",
            "../../etc",
            "sites/../..",
            "/etc/passwd",
            "0.0.0.0",
            "fe80::1%lo",
            "1",
            "a@b\nc",
            "all",
            "on",
            "off",
            "none",
            "-D",
            "--help",
        ]
    )
)
GOOD = (
    "xn--bcher-kva.test", "a.b.c.d.test", "s-1", "start.html", "http://x.test/a?b=%20&c=d#e",
    "https://[2001:db8::1]:8443/", "web-master+x@x.test", "10.1.2.3", "2001:db8::1",
)  # fmt: skip


def parse(text: str) -> list[Directive]:
    """Read Apache's syntax as its documentation tells it."""
    directives: list[Directive] = []
    depth = 0
    for raw in re.sub(r"\\\n", "", text).split("\n"):
        line = raw.strip(" \t\r\v\f")
        if not line or line.startswith("#"):
            continue
        words = _words(line.removesuffix(">") if line.startswith("<") else line)
        name = words[0].lower()
        depth -= name.startswith("</")
        directives.append((str(depth), name, *words[1:]))
        depth += name.startswith("<") and not name.startswith("</")
    assert depth == 0
    return directives


def _words(line: str) -> list[str]:
    words = []
    rest = line
    while rest := rest.lstrip(" \t\v\f\r"):
        if rest[0] in "\"'":
            found = re.match(r"""(["'])((?:\\.|(?!\1)[^\\]|\\$)*)\1?""", rest)
            assert found is not None
            words.append(re.sub(rf"\\([\\{found[1]}])", r"\1", found[2]))
        else:
            found = re.match(r"[^ \t\v\f\r]+", rest)
            assert found is not None
            words.append(found[0])
        rest = rest[found.end() :]
    return words


class Page(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(f"<{tag} {attrs}>")

    def handle_data(self, data: str) -> None:
        self.seen.append(data)

    def handle_comment(self, data: str) -> None:
        self.seen.append(f"<!--{data}-->")


@attrs.frozen
class Case:
    """All that goes into a plan."""

    server: ServerSpec
    domain: str
    site: SiteSpec
    user: str = "www-data"
    modules: str = "/usr/lib/apache2/modules"

    def plans(self) -> list[UnitPlan]:
        context = LaneContext(
            lane="lane",
            server=self.server,
            root=PurePosixPath("/srv/lane"),
            daemon_user=self.user,
            modules=PurePosixPath(self.modules),
        )
        unit = site_unit(self.domain, self.site)
        sites = {ObjectId("site", self.domain): self.site}
        return [
            plan(context, Unit("server", {}), Unit("server", {SERVER_ID: self.server})),
            plan(context, Unit(unit, {}), Unit(unit, sites)),
        ]


CASE = Case(
    ServerSpec(
        name="web1",
        endpoints=(Endpoint(address="192.0.2.7", port=80),),
        settings=ApacheSettings(server_admin="admin@web.test", tls_port=443),
        fallback=PAIR,
    ),
    "shop.test",
    SiteSpec(
        account=1,
        site="site-1",
        aliases=("other.test",),
        www=False,
        settings=SiteSettings(index=("main.html",), redirect_to="http://to.test/", indexes=True),
        certificate=PAIR,
    ),
)


def _server(case: Case, **fields: Any) -> Case:
    return attrs.evolve(case, server=msgspec.structs.replace(case.server, **fields))


def _site(case: Case, **fields: Any) -> Case:
    return attrs.evolve(case, site=msgspec.structs.replace(case.site, **fields))


def _settings(case: Case, **fields: Any) -> Case:
    assert case.site.settings is not None
    return _site(case, settings=msgspec.structs.replace(case.site.settings, **fields))


FIELDS: dict[str, tuple[str, Callable[[str], Case]]] = {
    "server name": ("web1", lambda value: _server(CASE, name=value)),
    "server_admin": (
        "admin@web.test",
        lambda value: _server(
            CASE, settings=msgspec.structs.replace(CASE.server.settings, server_admin=value)
        ),
    ),
    "address": (
        "192.0.2.7",
        lambda value: _server(CASE, endpoints=(Endpoint(address=value, port=80),)),
    ),
    "fallback chain": (
        PAIR.chain,
        lambda value: _server(CASE, fallback=Certificate(chain=PAIR.chain + value, key=PAIR.key)),
    ),
    "fallback key": (
        PAIR.key,
        lambda value: _server(CASE, fallback=Certificate(chain=PAIR.chain, key=value)),
    ),
    "domain": ("shop.test", lambda value: attrs.evolve(CASE, domain=value)),
    "site": ("site-1", lambda value: _site(CASE, site=value)),
    "alias": ("other.test", lambda value: _site(CASE, aliases=(value,))),
    "index": ("main.html", lambda value: _settings(CASE, index=(value,))),
    "redirect_to": ("http://to.test/", lambda value: _settings(CASE, redirect_to=value)),
    "chain": (
        PAIR.chain,
        lambda value: _site(CASE, certificate=Certificate(chain=PAIR.chain + value, key=PAIR.key)),
    ),
    "key": (
        PAIR.key,
        lambda value: _site(CASE, certificate=Certificate(chain=PAIR.chain, key=value)),
    ),
    "daemon_user": ("www-data", lambda value: attrs.evolve(CASE, user=value)),
    "modules": ("/usr/lib/apache2/modules", lambda value: attrs.evolve(CASE, modules=value)),
}


def written(plans: list[UnitPlan]) -> list[WriteFile]:
    return [
        effect
        for each in plans
        for effect in (*each.files, *each.scratch)
        if isinstance(effect, WriteFile)
    ]


def shape(plans: list[UnitPlan]) -> list[str]:
    return [type(effect).__name__ for each in plans for effect in (*each.files, *each.checks)]


def expected(directives: list[Directive], old: str, new: str) -> list[Directive]:
    return [tuple(_same(word.replace(old, new)) for word in directive) for directive in directives]


def _same(word: str) -> str:
    """Leave digests of the content out of names, and the brackets off an IPv6 address."""
    digests = r"\.[0-9a-f]{32}\.pem|^[0-9a-f]{32}(?=\.heliosphere\.invalid$)"
    return re.sub(digests + r"|^\[(.+)\](?=:\d+$)", r"\1", word)


def assert_only_the_value_differs(was: WriteFile, now: WriteFile, old: str, new: str) -> None:
    assert not now.path.startswith("/")
    assert ".." not in now.path.split("/")
    if now.path.endswith(".pem"):
        assert now.content == was.content
        return
    before, after = was.content.decode(), now.content.decode()
    if now.path.endswith(".html"):
        assert Page(after).seen == [text.replace(old, new) for text in Page(before).seen]
        return
    assert set(re.findall(r"\$\{[^}]*", after)) <= {"${HS_HTTP", "${HS_TLS"}
    got = [tuple(map(_same, directive)) for directive in parse(after)]
    assert got == expected(parse(before), old, new)


@pytest.mark.parametrize("field", FIELDS)
def test_a_hostile_value_is_refused_or_stays_one_argument(field: str) -> None:
    good, build = FIELDS[field]
    usual = CASE.plans()
    accepted, refusals = [], []
    for value in (*HOSTILE, *GOOD):
        try:
            plans = build(value).plans()
        except PlanRefusedError as error:
            refusals.append(str(error))
            continue
        accepted.append(value)
        assert shape(plans) == shape(usual), value
        if not value:
            continue  # means that the field is not set
        # What stands after a chain's certificates is not written at all.
        new = good if field.endswith("chain") else value
        if field == "modules":
            new = str(PurePosixPath(value))
        for was, now in zip(written(usual), written(plans), strict=True):
            assert_only_the_value_differs(was, now, good, new)
    assert all(words.isprintable() for words in refusals)
    if field in ONLY:
        assert set(accepted) == ONLY[field]


def test_there_are_two_hundred_hostile_values() -> None:
    assert len(HOSTILE) >= 200


def test_the_reader_sees_what_an_injection_would_bring() -> None:
    text = CASE.plans()[1].files[-1]
    assert isinstance(text, WriteFile)
    conf = text.content.decode()
    for hostile in (
        'shop.test"\nServerAdmin "evil',
        'shop.test" "more',
        'shop.test"\n</VirtualHost>',
    ):
        assert len(conf) > 0
        try:
            seen = parse(conf.replace("shop.test", hostile, 1))
        except AssertionError:
            continue
        assert seen != expected(parse(conf), "shop.test", hostile)


ONLY = {
    "domain": {"xn--bcher-kva.test", "a.b.c.d.test", "start.html"},
    "alias": {"xn--bcher-kva.test", "a.b.c.d.test", "start.html"},
    "address": {"127.0.0.1", "::1", "0.0.0.0", "10.1.2.3", "2001:db8::1"},
    "server_admin": {"", "web-master+x@x.test"},
    "site": {"1", "all", "on", "off", "none", "s-1", "localhost", "disabled", "Disabled"},
}
"""All that these fields take of the values above."""
