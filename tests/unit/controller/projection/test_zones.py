"""Rows of zones, sites and servers to the objects that boxes are sent."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.hosting.generated_records import generated_records
from controller.hosting.service_zone import assign_roles, own_names, service_records
from controller.projection.servers import AddressRow, ServerRow, endpoints, server_spec
from controller.projection.sites import SiteRow, site_spec
from controller.projection.zones import (
    NameServer,
    RecordRow,
    ZoneRow,
    amended_zone,
    master_zone,
    secondary_zone,
)
from templates.service_type import Endpoint


def server(name: str, role: str, address: str = "192.0.2.1") -> NameServer:
    return NameServer(f"id-{name}", name, Endpoint(address=address, port=53), role)


SERVERS = (server("ns2.example.net", "secondary", "192.0.2.2"), server("ns1.example.net", "master"))
ZONE = ZoneRow(1, "shop.test", 7, 3600, "hostmaster.example.net.", 1)
ROWS = [RecordRow("www", "A", "192.0.2.3", 60), RecordRow("@", "A", "192.0.2.3", 60)]


def test_order_of_rows_does_not_change_the_object() -> None:
    assert master_zone(ZONE, ROWS, SERVERS) == master_zone(ZONE, ROWS[::-1], SERVERS[::-1])


def test_master_names_itself_and_its_secondaries() -> None:
    spec = master_zone(ZONE, ROWS, SERVERS)
    assert (spec.serial, spec.soa.primary) == (7, "ns1.example.net.")
    assert spec.secondaries == (Endpoint(address="192.0.2.2", port=53),)


def test_secondary_has_configuration_only() -> None:
    assert secondary_zone(SERVERS).masters == (Endpoint(address="192.0.2.1", port=53),)


def test_new_zone_has_its_ns_and_the_sites_address() -> None:
    found = {
        (r.name, r.type, r.data) for r in generated_records("shop.test", SERVERS, "2001:db8::1")
    }
    assert found == {
        ("@", "NS", "ns1.example.net."),
        ("@", "NS", "ns2.example.net."),
        ("@", "AAAA", "2001:db8::1"),
        ("www", "AAAA", "2001:db8::1"),
    }


@pytest.mark.parametrize(("length", "names"), [(249, {"@", "www"}), (250, {"@"}), (253, {"@"})])
def test_a_domain_has_www_where_that_is_a_name_still(length: int, names: set[str]) -> None:
    zone = ".".join(["a" * 60] * 5)[:length]
    found = generated_records(zone, SERVERS, "192.0.2.9")
    assert {record.name for record in found if record.type == "A"} == names


def test_a_name_server_that_is_the_domain_keeps_its_own_address() -> None:
    found = {
        (r.name, r.type, r.data)
        for r in generated_records("ns.test", (server("ns.test", "master"),), "192.0.2.9")
    }
    assert ("@", "A", "192.0.2.1") in found
    assert ("@", "A", "192.0.2.9") not in found


def test_a_site_without_settings_is_plain() -> None:
    plain = site_spec(SiteRow(4, "shop.test", 2, "id", None))
    assert (plain.site, plain.account, plain.settings, plain.certificate) == ("s4", 2, None, None)


@pytest.mark.parametrize("type_", ["dedicated", "outgoing", "bouncing", "dns-reseller"])
def test_r355_a_server_itself_listens_on_shared_and_service_addresses_alone(type_: str) -> None:
    rows = [AddressRow("192.0.2.5", 80, type_), AddressRow("192.0.2.3", 80, "shared")]
    assert [e.address for e in endpoints(rows)] == ["192.0.2.3"]


def test_a_server_without_an_endpoint_has_no_object() -> None:
    assert server_spec(ServerRow("id", "w.test", "web", "apache", {}), []) is None


def test_service_zone_names_only_what_is_under_its_domain() -> None:
    named = [("ns1.example.net", "192.0.2.1"), ("web.other.test", "192.0.2.9")]
    own = own_names("192.0.2.99", "")
    found = {(r.name, r.type) for r in service_records("example.net", SERVERS, named, own)}
    assert found == {("@", "NS"), ("ns1", "A"), ("cp", "A")}


def test_master_of_the_service_zone_stays_while_it_can() -> None:
    able = [server("a.test", "secondary"), server("b.test", "secondary")]
    kept = assign_roles([server("b.test", "master"), server("a.test", "secondary")], able)
    assert [(s.name, s.role) for s in kept] == [("b.test", "master"), ("a.test", "secondary")]
    moved = assign_roles([server("c.test", "master"), server("b.test", "secondary")], able)
    assert [(s.name, s.role) for s in moved] == [("b.test", "master"), ("a.test", "secondary")]


rows = st.builds(
    RecordRow,
    name=st.sampled_from(["@", "a", "b", "cp", "z"]),
    type=st.sampled_from(["A", "AAAA", "NS", "TXT"]),
    data=st.sampled_from(["192.0.2.1", "192.0.2.10", "192.0.2.2", "x"]),
    ttl=st.sampled_from([60, 3600]),
    generated=st.booleans(),
)


def by_value(row: RecordRow) -> tuple[str, str, str]:
    return row.name, row.type, row.data


@given(
    st.lists(rows, unique_by=by_value),
    st.lists(rows, unique_by=by_value),
    st.integers(0, 2**32 - 1),
)
def test_an_amended_zone_is_the_one_written_whole(
    before: list[RecordRow], after: list[RecordRow], serial: int
) -> None:
    zone = ZoneRow(1, "shop.test", serial, 3600, "hostmaster.example.net.", 1)
    gone = [row for row in before if row not in after]
    new = [row for row in after if row not in before]
    amended = amended_zone(master_zone(ZONE, before, SERVERS), zone, SERVERS, gone, new)
    assert amended == master_zone(zone, after, SERVERS)


def test_a_zone_that_does_not_hold_what_goes_is_not_amended() -> None:
    present = master_zone(ZONE, ROWS, SERVERS)
    assert (
        amended_zone(present, ZONE, SERVERS, [RecordRow("www", "A", "192.0.2.4", 60)], []) is None
    )
    assert amended_zone(present, ZONE, SERVERS, [RecordRow("zz", "A", "192.0.2.4", 60)], []) is None
