"""What bad input gets, through the real API over HTTPS and through hsctl: refused, nothing written.

Each case names what the API must say of it: the id of the problem, or a part of it, and the field.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import dns.message
import dns.query
import pytest

from tests.faults.cluster_under_fault import Broken, broken_cluster
from tests.local_cluster import ask

pytestmark = pytest.mark.timeout(300)

ZONE = "input.test"


@pytest.fixture(scope="module")
def broken() -> Iterator[Broken]:
    with broken_cluster() as made:
        good = made.cluster.good
        good("account", "add", "acme")
        good("account", "add", "other")
        good("domain", "add", ZONE, "--account", "acme")
        good("record", "add", ZONE, "www2", "A", "192.0.2.1")
        assert made.settled()
        yield made


@attrs.frozen
class Case:
    """A request, and the same on the command line; ``words`` None where a shell cannot say it."""

    name: str
    method: str
    path: str
    body: Mapping[str, Any]
    field: str
    words: tuple[str, ...] | None
    status: int = 422


def domain(name: str, value: str) -> Case:
    body = {"name": value, "account": "acme"}
    words = None if "\0" in value else ("domain", "add", "--account", "acme", "--", value)
    return Case(f"domain-{name}", "POST", "/domains", body, "name", words)


def record(
    name: str,
    owner: str,
    kind: str,
    *values: str,
    field: str,
    ttl: int | None = None,
) -> Case:
    body: dict[str, Any] = {"name": owner, "type": kind, "values": list(values)}
    words = ["record", "add"]
    if ttl is not None:
        body["ttl"] = ttl
        words += [f"--ttl={ttl}"]
    words += ["--", ZONE, owner, kind, *values]
    said = None if any("\0" in word for word in words) else tuple(words)
    return Case(f"record-{name}", "POST", f"/domains/{ZONE}/records", body, field, said)


LONG = ".".join(["a" * 60] * 4)

ADD_NS9 = (
    *("lserver", "add", "ns9.heliosphere.test"),
    *("--group", "dns", "--type", "bind", "--pserver"),
)

CASES = [
    domain("empty-label", "test..com"),
    domain("label-over-63", f"{'a' * 64}.test"),
    domain("name-over-253", f"{LONG}.{'b' * 20}.test"),
    domain("leading-hyphen", "-shop.test"),
    domain("trailing-hyphen", "shop-.test"),
    domain("newline", "shop.test\nevil.test"),
    domain("carriage-return", "shop.test\revil"),
    domain("nul", "shop\0.test"),
    domain("quote", 'shop".test'),
    domain("semicolon", "shop;.test"),
    domain("include", "$INCLUDE.test"),
    domain("space", "shop test.test"),
    domain("duplicate", ZONE),
    Case(
        "domain-child-of-other",
        "POST",
        "/domains",
        {"name": f"sub.{ZONE}", "account": "other"},
        "name",
        ("domain", "add", f"sub.{ZONE}", "--account", "other"),
    ),
    Case(
        "domain-parent-of-other",
        "POST",
        "/domains",
        {"name": "test", "account": "other"},
        "name",
        ("domain", "add", "test", "--account", "other"),
    ),
    Case(
        "domain-unknown-account",
        "POST",
        "/domains",
        {"name": "ghost.test", "account": "nobody"},
        "account",
        ("domain", "add", "ghost.test", "--account", "nobody"),
    ),
    record("bad-name", "bad name", "A", "192.0.2.1", field="name"),
    record("bad-address", "x", "A", "nonsense", field="values"),
    record("short-address", "x", "A", "192.0.2", field="values"),
    record("six-as-four", "x", "A", "2001:db8::1", field="values"),
    record("bad-six", "x", "AAAA", "2001:db8:::1", field="values"),
    record("label-over-63", "a" * 64, "A", "192.0.2.1", field="name"),
    record("out-of-zone", "www.elsewhere.test.", "A", "192.0.2.1", field="name"),
    record("cname-beside-other-data", "www2", "CNAME", "x.test.", field=""),
    record("cname-at-the-apex", "@", "CNAME", "x.test.", field=""),
    record("ttl-below-0", "x", "A", "192.0.2.1", field="ttl", ttl=-1),
    record("ttl-over-31-bits", "x", "A", "192.0.2.1", field="ttl", ttl=2147483648),
    record("unknown-type", "x", "NOPE", "1", field="type"),
    record("mx-newline", "@", "MX", "10 mail.test.\n@ A 192.0.2.66", field="values"),
    record("mx-include", "@", "MX", "10 mail.test.\n$INCLUDE /etc/passwd", field="values"),
    record("mx-semicolon", "@", "MX", "10 mail;evil.test.", field="values"),
    record("srv-quote", "_x._tcp", "SRV", '10 5 5060 "sip.test."x', field="values"),
    record("name-nul", "x\0y", "A", "192.0.2.1", field="name"),
    record("name-newline", "x\ny", "A", "192.0.2.1", field="name"),
    record("txt-newline", "t", "TXT", "one\ntwo", field="values"),
    record("txt-nul", "t", "TXT", "one\0two", field="values"),
    Case(
        "record-unknown-domain",
        "POST",
        "/domains/ghost.test/records",
        {"name": "x", "type": "A", "values": ["192.0.2.1"]},
        "domain",
        ("record", "add", "ghost.test", "x", "A", "192.0.2.1"),
        404,
    ),
    Case(
        "lserver-unknown-box",
        "POST",
        "/lservers",
        {"name": "ns9.heliosphere.test", "group": "dns", "type": "bind", "pserver": "nowhere"},
        "pserver",
        (
            *[
                "lserver",
                "add",
                "ns9.heliosphere.test",
                "--group",
                "dns",
                "--type",
                "bind",
                "--pserver",
                "nowhere",
            ],
        ),
    ),
    Case(
        "lserver-description-newline",
        "POST",
        "/lservers",
        {
            "name": "ns9.heliosphere.test",
            "group": "dns",
            "type": "bind",
            "pserver": "ns1",
            "description": "one\ntwo",
        },
        "description",
        (
            *[
                "lserver",
                "add",
                "ns9.heliosphere.test",
                "--group",
                "dns",
                "--type",
                "bind",
                "--pserver",
                "ns1",
            ],
            "--description",
            "one\ntwo",
        ),
    ),
    Case(
        "box-bad-address",
        "POST",
        "/pservers",
        {"name": "box9", "ip": "10.0.0.300", "mask": "24", "groups": ["dns"]},
        "ip",
        ("pserver", "add", "box9", "--ip", "10.0.0.300", "--mask", "24", "--groups", "dns"),
    ),
    Case(
        "account-quote",
        "POST",
        "/accounts",
        {"name": 'a"; DROP TABLE account'},
        "name",
        ("account", "add", "--", 'a"; DROP TABLE account'),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_is_refused_by_the_api_and_by_hsctl(broken: Broken, case: Case) -> None:
    before = broken.dump()
    answer = broken.api.ask(case.method, case.path, case.body)
    assert answer.status == case.status, answer
    assert answer.kind == "application/problem+json"
    problem = answer.body
    assert problem["id"]
    assert problem["status"] == answer.status
    assert problem["detail"]
    assert problem["allowed"], problem
    if case.field:
        assert problem["field"].partition("[")[0] == case.field, problem
        assert problem["value"], problem
    if case.words is not None:
        ran = broken.cluster.hsctl(*case.words)
        assert ran.code == 1, ran
        lines = [line for line in ran.err.splitlines() if not line.startswith("cluster: ")]
        assert len(lines) == 1, ran.err
        assert problem["id"] in lines[0]
        assert lines[0].isprintable()
    assert broken.dump() == before


def test_an_idn_is_accepted_as_unicode_and_stored_as_a_label(broken: Broken) -> None:
    broken.cluster.good("domain", "add", "bücher.test", "--account", "acme")
    shown = json.loads(broken.cluster.good("domain", "show", "bücher.test", "-o", "json"))
    assert shown["name"] == "xn--bcher-kva.test"
    assert ask(broken.cluster.places()["ns2"], "xn--bcher-kva.test", "SOA") != []
    assert broken.rows("SELECT name FROM domain WHERE name LIKE 'xn--%%'") == [
        ("xn--bcher-kva.test",)
    ]


def test_a_text_over_255_bytes_is_split(broken: Broken) -> None:
    text = "k=" + "x" * 600
    broken.cluster.good("record", "add", ZONE, "long", "TXT", text)
    for box in ("ns1", "ns2"):
        address, port = broken.cluster.places()[box]
        query = dns.message.make_query(f"long.{ZONE}", "TXT")
        (rrset,) = dns.query.tcp(query, address, port=port, timeout=5).answer
        strings = [each.decode() for each in rrset[0].strings]
        assert [len(each) for each in strings] == [255, 255, 92]
        assert "".join(strings) == text


@pytest.mark.parametrize("text", ['a "quoted" word', "semi;colon", "$INCLUDE /etc/passwd", "b\\c"])
def test_text_that_means_something_to_a_master_file_is_only_text(broken: Broken, text: str) -> None:
    broken.cluster.good("record", "set", ZONE, "text", "TXT", text)
    (answer,) = ask(broken.cluster.places()["ns2"], f"text.{ZONE}", "TXT")
    assert answer.strip('"').replace('\\"', '"').replace("\\\\", "\\") in (text, text.strip('"'))
