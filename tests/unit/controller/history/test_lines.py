"""Whose a line is, and which version brought it, without a box or a database."""

import msgspec

from controller.history.lines import Written, brought_by, lane_context, owner_of, written
from controller.history.readable import MOST_LINES, difference, readable
from templates.apache.objects import ApacheSettings, ServerSpec, SiteSettings, SiteSpec
from templates.apache.service import APACHE
from templates.objects import ObjectId, encode_spec
from templates.service_type import Endpoint

SERVER = encode_spec(
    ServerSpec(
        name="web1.test",
        endpoints=(Endpoint(address="192.0.2.1", port=80),),
        settings=ApacheSettings(),
    )
)
CONTEXT = lane_context(APACHE, "lane", SERVER, "/srv/lane")
FILE = "accounts/7.conf"
NAMED = 'ServerName "n'
"""A site's own name, as no other line of its file begins."""


def site(number: int, *index: str) -> SiteSpec:
    settings = SiteSettings(index=index) if index else None
    return SiteSpec(account=7, site=f"s{number}", settings=settings)


def named(number: int) -> ObjectId:
    return ObjectId("site", f"n{number:02}.test")


def test_each_line_of_many_sites_is_of_the_site_that_it_names() -> None:
    sites = {named(number): site(number, f"i{number:02}.html") for number in range(12)}
    whole = written(APACHE, CONTEXT, sites, FILE)
    assert whole is not None
    assert whole.lines is not None
    seen = set()
    for line, text in enumerate(whole.lines, 1):
        owner = owner_of(APACHE, CONTEXT, sites, FILE, line)
        if NAMED in text or "DirectoryIndex" in text:
            assert owner.key[1:3] in text
            seen.add(owner)
    assert seen == set(sites)


def test_what_belongs_to_others_once_it_is_there_is_not_ours() -> None:
    objects = {named(1): site(1)}
    assert written(APACHE, CONTEXT, objects, "sites/s1/htdocs/index.html") is None
    assert written(APACHE, CONTEXT, objects, "vhosts/n01.test") == Written(None)
    assert written(APACHE, CONTEXT, objects, "vhosts/other.test") is None


def test_a_lane_without_its_own_configuration_writes_nothing() -> None:
    bare = lane_context(APACHE, "lane", None, "/srv/lane")
    assert written(APACHE, bare, {named(1): site(1, "a.html")}, FILE) is None


def test_the_version_that_brought_a_line_is_the_oldest_in_a_row_with_it() -> None:
    versions = [
        encode_spec(site(1, "b.html", "c.html")),
        encode_spec(site(1, "b.html")),
        None,
        encode_spec(site(1, "b.html")),
    ]

    whole = written(APACHE, CONTEXT, {named(1): site(1, "b.html", "c.html")}, FILE)
    assert whole is not None
    assert whole.lines is not None
    lines = whole.lines

    def asked(word: str, *, complete: bool = True) -> tuple[int, bool]:
        place = FILE, next(line for line in lines if word in line)
        return brought_by(APACHE, CONTEXT, named(1), versions, place, complete=complete)

    assert asked(NAMED) == (1, True)
    assert asked("DirectoryIndex") == (0, True)
    del versions[2:]
    assert asked(NAMED) == (1, True)
    assert asked(NAMED, complete=False) == (1, False)
    versions[1] = b"\xff"
    assert asked(NAMED) == (0, False)


def test_text_to_compare_has_no_secret_and_an_end() -> None:
    secret = "secret:7:" + "ab" * 32
    spec = msgspec.msgpack.encode({"a": {"key": secret}, "b": [secret, {"c": secret}], "n": 1})
    assert readable(spec) == ["a.key = (secret)", "b: (secret)", "b: c (secret)", "n = 1"]
    many = msgspec.msgpack.encode({"n": list(range(MOST_LINES + 10))})
    lines = difference(None, many).splitlines()
    assert len(lines) == MOST_LINES + 1
    assert lines[-1].startswith("... and ")
    assert difference(spec, spec) == ""
