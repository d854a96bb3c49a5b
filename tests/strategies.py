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
