"""Hypothesis strategies for public records, used by every test that wants many of them."""

import string

from hypothesis import strategies as st

from controller.config import Listen
from controller.principal import Principal
from controller.storage.secrets import SecretReference
from templates.objects import ObjectId

row_ids = st.integers(min_value=1, max_value=2**63 - 1)
uuids = st.uuids().map(str)

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
domain_names = st.builds(
    lambda front, top: ".".join([*front, top]),
    st.lists(labels, min_size=1, max_size=4),
    st.from_regex(r"[a-z]{2,10}", fullmatch=True),
)
"""Names in A-label form that a customer may register: at least two labels, lower case."""

hostile_texts = st.text(
    alphabet=st.one_of(
        st.sampled_from("\r\n\t\0\"'\\;$(){}<>%`&|#*?/. "),
        st.sampled_from(string.ascii_letters),
        st.characters(),
    )
)
"""Text that leans towards what means something to a shell, a daemon's syntax or HTML."""

ipv4_addresses = st.ip_addresses(v=4).map(str)
ipv6_addresses = st.ip_addresses(v=6).map(str)
ports = st.integers(min_value=0, max_value=65535)
listens = st.builds(Listen, st.one_of(ipv4_addresses, ipv6_addresses), ports)

operator_names = st.from_regex(r"[a-z][a-z0-9._-]{0,63}", fullmatch=True)
principals = st.one_of(
    st.builds(Principal, st.just("provider"), operator_names.map("operator:{}".format)),
    st.builds(Principal, st.just("account"), labels.map("account:{}".format), row_ids),
)

object_ids = st.builds(ObjectId, st.sampled_from(("server", "zone", "site")), domain_names)
secret_references = st.builds(SecretReference, row_ids, st.binary(min_size=32, max_size=32))


def _asked(command: str, **fields: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.tuples(st.just(command), st.fixed_dictionaries(fields))


_domains = st.sampled_from(("one.test", "two.test", "www.one.test"))
_accounts = st.sampled_from(("acme", "other"))
_owners = st.sampled_from(("@", "www", "mail", "alias"))
_records = st.one_of(
    st.tuples(st.just("A"), st.sampled_from((("192.0.2.50",), ("192.0.2.50", "192.0.2.51")))),
    st.tuples(st.just("TXT"), st.sampled_from((("one",), ("two words",)))),
    st.tuples(st.just("CNAME"), st.just(("elsewhere.test.",))),
    st.tuples(st.just("MX"), st.just(("10 mail",))),
)
_ttls = st.sampled_from((None, 60, 3600))
_record_changes = st.builds(
    lambda command, domain, name, record, ttl: (
        command,
        {"domain": domain, "name": name, "type": record[0], "values": record[1]}
        | ({} if command == "record.delete" else {"ttl": ttl}),
    ),
    st.sampled_from(("record.add", "record.set", "record.delete")),
    _domains,
    _owners,
    _records,
    _ttls,
)
_name_servers = st.sampled_from(("", "ns1.example.net", "ns2.example.net"))
_servers = st.sampled_from(("ns1.example.net", "web1.example.net", "new.example.net"))
_boxes = st.sampled_from(("ns1", "ns2", "web1", "spare"))

undoable_commands = st.one_of(
    _record_changes,
    _asked("account.add", name=_accounts),
    _asked("account.delete", name=_accounts),
    _asked("domain.add", name=_domains, account=_accounts),
    _asked("domain.delete", name=_domains),
    _asked(
        "domain.import",
        name=_domains,
        text=st.sampled_from(("www 60 IN A 192.0.2.9\n", "a 60 IN TXT x\n@ 60 IN MX 1 m\n")),
        replace=st.booleans(),
        account=st.sampled_from(("", "acme")),
    ),
    _asked(
        "site.set",
        name=_domains,
        index=st.sampled_from((None, ("a.html",), ("a.html", "b.html"))),
        redirect_to=st.sampled_from((None, "", "https://else.test/")),
        indexes=st.sampled_from((None, True)),
        plain=st.booleans(),
    ),
    _asked("site.address", name=_domains, type=st.sampled_from(("shared", "dedicated"))),
    _asked("lserver.edit", name=_servers, description=st.sampled_from(("", "a", "b"))),
    _asked("lserver.signup", name=_servers, signup=st.booleans()),
    _asked(
        "lserver.set",
        name=st.just("web1.example.net"),
        settings=st.sampled_from(
            ({"timeout": 30}, {"timeout": 40, "tls_port": 443}, {"timeout": ""})
        ),
    ),
    _asked(
        "lserver.add",
        name=st.just("new.example.net"),
        group=st.just("web"),
        type=st.just("apache"),
        pserver=_boxes,
    ),
    _asked("lserver.move", name=st.just("new.example.net"), to=_boxes),
    _asked("dns.roles", master=_name_servers, slave1=_name_servers),
    _asked(
        "pserver.edit",
        name=_boxes,
        ip=st.sampled_from((None, "198.51.100.77")),
        mask=st.sampled_from((None, "25")),
        description=st.sampled_from((None, "rack 1")),
        groups=st.sampled_from((None, ("web", "mail"))),
    ),
    _asked(
        "pserver.intent", name=_boxes, intent=st.sampled_from(("open", "draining", "maintenance"))
    ),
    _asked("pserver.monitoring", name=_boxes, monitoring=st.booleans()),
    _asked(
        "ip.add",
        lserver=_servers,
        first=st.sampled_from(("203.0.113.8", "203.0.113.16")),
        last=st.sampled_from(("", "203.0.113.23")),
        mask=st.just("24"),
        type=st.sampled_from(("dedicated", "shared")),
        tag=st.sampled_from((None, 7)),
    ),
    _asked(
        "ip.edit",
        ip=st.sampled_from(("203.0.113.8", "203.0.113.16", "192.0.2.3")),
        mask=st.sampled_from(("", "28")),
        tag=st.sampled_from((None, 8)),
        new_port=st.sampled_from((None, 8080)),
    ),
    _asked(
        "ip.delete",
        ip=st.sampled_from(("203.0.113.8", "203.0.113.16", "192.0.2.2")),
        last=st.sampled_from(("", "203.0.113.23")),
    ),
)
"""(command, fields) on the cluster of `tests.integration.small_cluster`; some are refused."""
