"""Rows on boxes and servers that hold by how things are made, each with its test (R10 to R369)."""

from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest
import pytest_twisted
from pytest_twisted import ensureDeferred

from controller.cluster.boxes.boxes import AddBox
from controller.cluster.servers.logical_servers import AddServer
from controller.registry import EnrolmentInfo, build_registry
from controller.runner import CommandRunner
from tests.form_walk import SeenPage
from tests.integration.model import NOW, Model, NotedFleet
from tests.panel_site import PanelSite, panel_site

pytest_plugins = ("tests.integration.model",)


@pytest_twisted.async_yield_fixture
async def panel(model: Model, tmp_path: Path) -> AsyncIterator[PanelSite]:
    async with panel_site(model, tmp_path) as running:
        yield running


async def labels(panel: PanelSite, path: str, button: str) -> set[str]:
    """Give the labels of the form with this button."""
    visitor = await panel.signed_in()
    (form,) = (form for form in SeenPage(await visitor.text(path)).forms if button in form.buttons)
    return {control.label for control in form.controls if control.label}


async def names(model: Model, zone: str) -> set[tuple[str, str, str]]:
    found = await model.rows(
        """SELECT r.name, r.type, r.data FROM record r JOIN zone z ON z.id = r.zone_id
           WHERE z.name = %s""",
        (zone,),
    )
    return {(name, type_, data) for name, type_, data in found}


@ensureDeferred
async def test_r10_boxes_of_one_cluster_are_in_any_network(model: Model) -> None:
    for number, address in enumerate(("192.0.2.7", "203.0.113.7", "2001:db8:7::7"), start=1):
        mask = "64" if ":" in address else "24"
        await model.ask("pserver.add", name=f"b{number}", ip=address, mask=mask, groups=("web",))
        await model.server(f"web{number}", "web", "apache", f"b{number}")
        await model.ask(
            "ip.add", lserver=f"web{number}.example.net", first=address, mask=mask, type="shared"
        )
    assert (await model.ask("health.list"))["counts"]["refuse"] == 0


@ensureDeferred
async def test_r18_r19_r20_panel_web_and_name_servers_have_names_of_the_service_domain(
    model: Model,
) -> None:
    await model.cluster()
    assert {
        ("cp", "A", "198.51.100.99"),
        ("web1", "A", "192.0.2.3"),
        ("ns1", "A", "192.0.2.1"),
        ("ns2", "A", "192.0.2.2"),
    } <= await names(model, "example.net")


@ensureDeferred
async def test_r241_a_box_has_one_address_and_one_mask(panel: PanelSite) -> None:
    fields = {field.name for field in attrs.fields(AddBox)}
    assert fields == {"name", "ip", "mask", "groups", "os_family", "description"}
    asked = await labels(panel, "/boxes/add", "Add the box")
    assert {each for each in asked if "mask" in each.lower() or "address" in each.lower()} == {
        "Primary IP address",
        "Network mask",
    }


@ensureDeferred
async def test_r264_to_r270_and_a4_a_new_server_is_asked_for_no_file_server(
    panel: PanelSite,
) -> None:
    await panel.model.box("web9", 9, ("web",))
    fields = {field.name for field in attrs.fields(AddServer)}
    assert fields == {"name", "group", "type", "pserver", "description", "settings"}
    assert await labels(panel, "/servers/add", "Add the logical server") == {
        "Name",
        "Group and type",
        "Box",
        "Description",
    }
    error = await panel.model.refused(
        "lserver.add",
        name="web9.example.net",
        group="web",
        type="apache",
        pserver="web9",
        settings={"file_server": "10.9.8.7:/vol/vol0"},
    )
    assert error.id == "lserver.settings.not-balanced"


@ensureDeferred
async def test_r298_and_a12_ftp_is_of_iis_or_of_a_server_beside_it(model: Model) -> None:
    await model.ask(
        "pserver.add",
        name="win",
        ip="198.51.100.7",
        mask="24",
        groups=("windows",),
        os_family="windows",
    )
    await model.server("win1", "windows", "iis", "win")
    shown = await model.ask("lserver.show", name="win1.example.net")
    (option,) = (each for each in shown["options"] if each["name"] == "ftp_server")
    assert set(option["choices"]) == {"iis", "ftp"}
    await model.ask("lserver.set", name="win1.example.net", settings={"ftp_server": "ftp"})
    for value in ("both", "iis,ftp", "IIS"):
        error = await model.refused(
            "lserver.set", name="win1.example.net", settings={"ftp_server": value}
        )
        assert error.id == "lserver.settings.invalid"


@ensureDeferred
async def test_r331_one_shared_address_has_many_sites(model: Model) -> None:
    await model.shop()
    for number in range(3):
        await model.ask("domain.add", name=f"more{number}.test", account="acme")
    found = await model.rows("SELECT DISTINCT ip_address_id FROM site")
    assert len(found) == 1
    sites = {key for kind, key in await model.objects("web1.example.net") if kind == "site"}
    assert sites == {"shop.test", "more0.test", "more1.test", "more2.test"}


@pytest.mark.parametrize("used_by", ["resellers", "master-admin"])
@ensureDeferred
async def test_r369_r370_a_name_server_takes_zones_of_those_that_it_is_for(
    model: Model, used_by: str
) -> None:
    await model.cluster()
    await model.ask("account.add", name="acme")
    await model.ask("lserver.set", name="ns1.example.net", settings={"used_by": used_by})
    added = await model.ask("domain.add", name="shop.test", account="acme")
    on = {server["name"] for server in added["name_servers"]}
    # Until there are resellers, every account is the provider's own customer.
    assert ("ns1.example.net" in on) is (used_by == "master-admin")
    assert "ns2.example.net" in on


@ensureDeferred
async def test_r14_a_second_controller_knows_all_of_it_from_the_database_alone(
    model: Model,
) -> None:
    await model.shop()
    await model.ask("record.add", domain="shop.test", name="www2", type="A", values=("192.0.2.7",))
    second = attrs.evolve(
        model,
        runner=CommandRunner(
            model.database,
            build_registry(
                EnrolmentInfo("198.51.100.99", 8445, "ab" * 32),
                lambda: float(NOW),
                fleet=NotedFleet(),
                secrets=model.secrets,
            ),
        ),
    )
    for command, fields in (
        ("pserver.list", {}),
        ("lserver.list", {}),
        ("ip.list", {"lserver": "web1.example.net"}),
        ("account.list", {}),
        ("domain.show", {"name": "shop.test"}),
        ("record.list", {"domain": "shop.test"}),
        ("change.list", {}),
    ):
        told = await model.ask(command, **fields)
        assert told == await second.ask(command, **fields)
        assert told.get("items", True)


@pytest.mark.parametrize("os_family", ["linux", "freebsd", "windows"])
@ensureDeferred
async def test_r32_a_box_has_one_of_three_kinds_of_systems(model: Model, os_family: str) -> None:
    box = {"ip": "198.51.100.7", "mask": "24", "groups": ("vps",)}
    await model.ask("pserver.add", name="b1", os_family=os_family, **box)
    assert (await model.ask("pserver.show", name="b1"))["os_family"] == os_family
    error = await model.refused("pserver.add", name="b2", os_family="solaris", **box)
    assert error.field == "os_family"


@pytest.mark.parametrize(
    ("group", "type_", "refusal"),
    [
        ("dns", "apache", "lserver.type.invalid"),
        ("mail", "qmail", "lserver.group.not-on-box"),
        ("nobody", "apache", "lserver.group.invalid"),
    ],
)
@ensureDeferred
async def test_r265_a_server_is_added_to_a_group_that_its_type_and_its_box_are_of(
    model: Model, group: str, type_: str, refusal: str
) -> None:
    await model.box("web9", 9, ("web", "dns"))
    error = await model.refused(
        "lserver.add", name="x.example.net", group=group, type=type_, pserver="web9"
    )
    assert error.id == refusal


@ensureDeferred
async def test_r281_a_server_that_is_kept_off_is_for_the_customer_it_is_given_to(
    model: Model,
) -> None:
    await model.shop()
    await model.box("web2", 9, ("web",))
    await model.server("web2", "web", "apache")
    await model.ask(
        "ip.add", lserver="web2.example.net", first="192.0.2.9", mask="24", type="shared"
    )
    for number in range(8):
        added = await model.ask("domain.add", name=f"more{number}.test", account="acme")
        assert added["site"]["logical_server"] == "web1.example.net"
    own = await model.ask("domain.add", name="own.test", account="acme", on="web2.example.net")
    assert own["site"]["logical_server"] == "web2.example.net"


@ensureDeferred
async def test_r295_rsync_connects_from_the_shared_ip_unless_said(model: Model) -> None:
    await model.cluster()
    shown = await model.ask("lserver.show", name="web1.example.net")
    (option,) = (each for each in shown["options"] if each["name"] == "rsync_ips")
    assert option["value"] in ([], ())
    assert "empty: the shared IP of the server" in option["help"]
