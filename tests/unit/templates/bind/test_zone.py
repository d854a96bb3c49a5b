"""What a changed zone comes to, as values."""

import msgspec
import pytest

from templates.bind.layout import BASELINE_ZONE, master_file, secondary_file
from templates.bind.zone import check_succession
from templates.bind.zone import plan_zone as plan_zone_unit
from templates.effects import AddZone, ProbeZone, ReloadZone, RemovePath, RemoveZone, WriteFile
from templates.objects import ObjectId
from templates.service_type import Endpoint, PlanRefusedError, Unit
from tests.unit.templates.bind.specs import (
    PEER,
    SECONDARY,
    ZONE,
    context,
    master,
    plan_zone,
    record,
    zone_unit,
)

replace = msgspec.structs.replace


def test_changed_records_come_to_one_file_and_one_reload() -> None:
    plan = plan_zone(master(serial=1), master(record("A", "192.0.2.1", "www"), serial=2))
    assert [type(effect) for effect in plan.files] == [WriteFile]
    assert [type(effect) for effect in plan.control] == [ReloadZone]
    assert plan.probes == (ProbeZone(ZONE, 2),)
    assert not plan.reload
    assert not plan.restart
    assert not plan.checks


def test_other_secondaries_come_to_another_configuration() -> None:
    plan = plan_zone(master(), master(peers=()))
    assert [type(effect) for effect in plan.control] == [AddZone]
    assert "allow-transfer { none; }" in plan.control[0].config


def test_a_repair_brings_file_and_configuration_anew() -> None:
    plan = plan_zone(master(), master())
    assert [type(effect) for effect in plan.control] == [AddZone]
    assert any(isinstance(effect, WriteFile) for effect in plan.files)


def test_a_secondary_is_configuration_only_and_never_waits_for_its_master() -> None:
    plan = plan_zone(None, SECONDARY)
    assert not any(isinstance(effect, WriteFile) for effect in plan.files)
    assert plan.probes == ()


def test_a_changed_role_retires_the_file_of_the_former_role() -> None:
    assert RemovePath(secondary_file(ZONE)) in plan_zone(SECONDARY, master()).retire
    assert RemovePath(master_file(ZONE)) in plan_zone(master(), SECONDARY).retire


def test_a_removed_zone_is_first_unserved_and_then_its_file_goes() -> None:
    plan = plan_zone(master(), None)
    assert plan.files == ()
    assert plan.control == (RemoveZone(ZONE),)
    assert plan.probes == (ProbeZone(ZONE, gone=True),)
    assert RemovePath(master_file(ZONE)) in plan.retire


@pytest.mark.parametrize(
    ("former", "serial"), [(1, 2), (2**32 - 1, 0), (2**31, 2**31 + 5), (0, 2**31 - 1)]
)
def test_serials_grow_around_the_end_of_their_range(former: int, serial: int) -> None:
    before, after = master(serial=former), master(record("A", "192.0.2.1"), serial=serial)
    check_succession(zone_unit(before), zone_unit(after))


@pytest.mark.parametrize(("former", "serial"), [(2, 1), (2, 2), (0, 2**31), (0, 2**32 - 1)])
def test_a_serial_that_does_not_grow_is_refused(former: int, serial: int) -> None:
    before, after = master(serial=former), master(record("A", "192.0.2.1"), serial=serial)
    with pytest.raises(PlanRefusedError, match="does not follow"):
        check_succession(zone_unit(before), zone_unit(after))


def test_the_way_back_to_an_older_serial_can_be_planned() -> None:
    newer, older = master(record("A", "192.0.2.1"), serial=3), master(serial=2)
    assert [type(effect) for effect in plan_zone(newer, older).control] == [ReloadZone]


@pytest.mark.parametrize(
    "zone",
    [
        "",
        ".",
        "shop.test.",
        "Shop.test",
        "shöp.test",
        "-shop.test",
        "shop-.test",
        "test..com",
        "a" * 64 + ".test",
        ".".join(["a" * 60] * 5),
        "shop test",
        'shop"; };.test',
        "shop/../../etc.test",
        "shop\n.test",
        "shop\\.test",
        "*.test",
        "@",
        BASELINE_ZONE,
    ],
)
@pytest.mark.parametrize("spec", [master(), SECONDARY], ids=["master", "secondary"])
def test_a_zone_name_that_is_no_a_label_name_is_refused(zone: str, spec: object) -> None:
    with pytest.raises(PlanRefusedError, match="name of a zone"):
        plan_zone(None, spec, zone)


def test_file_names_of_the_longest_zone_names_fit_and_differ() -> None:
    longest = ".".join(["a" * 61] * 4)[:250]
    paths = {
        path(zone) for path in (master_file, secondary_file) for zone in (longest, longest[1:])
    }
    assert len(paths) == 4
    for path in paths:
        assert len(path.rpartition("/")[2]) + len("..candidate") + len(".jnl") <= 255
    plan_zone(None, master(), longest)


def test_a_zone_without_its_server_is_refused() -> None:
    after = Unit(f"zone:{ZONE}", {ObjectId("zone", ZONE): master()})
    with pytest.raises(PlanRefusedError, match="no configuration yet"):
        plan_zone_unit(context(None), Unit(after.name, {}), after)


def test_a_secondary_without_a_master_is_refused() -> None:
    with pytest.raises(PlanRefusedError, match="needs a master"):
        plan_zone(None, replace(SECONDARY, masters=()))


@pytest.mark.parametrize(
    "peer",
    [
        Endpoint(address="192.0.2.1; any", port=53),
        Endpoint(address="", port=53),
        Endpoint(address="ns1.test", port=53),
        Endpoint(address="192.0.2.1", port=0),
        Endpoint(address="192.0.2.1", port=65536),
    ],
    ids=repr,
)
def test_a_peer_that_is_no_address_and_port_is_refused(peer: Endpoint) -> None:
    words = "does not appear to be an|is not a port"
    with pytest.raises(PlanRefusedError, match=words):
        plan_zone(None, master(peers=(PEER, peer)))
    with pytest.raises(PlanRefusedError, match=words):
        plan_zone(None, replace(SECONDARY, masters=(peer,)))
