"""Boxes, logical servers and what follows from them: one test for each rule that is enforced."""

import pytest_twisted

from pki.enrolment import Token
from tests.integration.model import Model


@pytest_twisted.ensureDeferred
async def test_m4_adding_a_box_answers_a_token_whose_digest_alone_is_kept(model: Model) -> None:
    answer = await model.box("web1", 1, ("web",))
    token = Token.parse(answer["token"])
    assert token.box_id == answer["id"]
    assert answer["enrolment_command"] == (
        f"hs-agent enrol --controller 198.51.100.99:8445 {answer['token']}"
    )
    ((digest, used),) = await model.rows("SELECT digest, used_at FROM enrolment_token")
    assert (digest, used) == (token.digest, None)
    kept = await model.rows(
        "SELECT (SELECT string_agg(c::text, '') FROM change c)"
        " || (SELECT string_agg(r::text, '') FROM change_row r)"
        " || coalesce((SELECT string_agg(i::text, '') FROM idempotency i), '')"
    )
    assert answer["token"].split(".")[2] not in kept[0][0]


@pytest_twisted.ensureDeferred
async def test_m4_a_replay_does_not_tell_the_token_again(model: Model) -> None:
    fields = {"name": "web1", "ip": "198.51.100.1", "mask": "24", "groups": ("web",)}
    first = await model.run("pserver.add", idempotency_key="k", **fields)
    again = await model.run("pserver.add", idempotency_key="k", **fields)
    assert first.result["token"]
    assert again.result["token"] is None
    assert again.change_id == first.change_id


@pytest_twisted.ensureDeferred
async def test_a_new_enrolment_line_voids_the_unused_one(model: Model) -> None:
    first = await model.box("web1", 1, ("web",))
    second = await model.ask("pserver.enroll", name="web1")
    assert second["token"] != first["token"]
    digests = await model.rows("SELECT digest FROM enrolment_token")
    assert digests == [(Token.parse(second["token"]).digest,)]


@pytest_twisted.ensureDeferred
async def test_r238_name_address_and_mask_are_checked(model: Model) -> None:
    for fields, error_id in (
        ({"name": "bad name"}, "pserver.name.invalid"),
        ({"name": "a;b"}, "pserver.name.invalid"),
        ({"ip": "300.1.1.1"}, "ip.address.invalid"),
        ({"mask": "255.0.255.0"}, "ip.mask.invalid"),
        ({"groups": ("dsn",)}, "pserver.groups.invalid"),
        ({"groups": ()}, "pserver.groups.invalid"),
        ({"os_family": "beos"}, "pserver.os.invalid"),
    ):
        good = {"name": "web1", "ip": "198.51.100.1", "mask": "24", "groups": ("web",)}
        assert (await model.refused("pserver.add", **{**good, **fields})).id == error_id


@pytest_twisted.ensureDeferred
async def test_m6_a_box_may_have_an_ipv6_address(model: Model) -> None:
    await model.ask("pserver.add", name="six", ip="2001:db8::6", mask="64", groups=("web",))
    shown = await model.ask("pserver.show", name="six")
    assert (shown["ip"], shown["prefix"]) == ("2001:db8::6", 64)


@pytest_twisted.ensureDeferred
async def test_second_box_of_a_name_is_refused(model: Model) -> None:
    await model.box("web1", 1, ("web",))
    error = await model.refused(
        "pserver.add", name="WEB1", ip="198.51.100.2", mask="24", groups=("web",)
    )
    assert (error.id, error.status) == ("pserver.name.taken", 422)
    assert error.allowed == "a name that no box has"


@pytest_twisted.ensureDeferred
async def test_r248_a_box_that_never_connected_is_marked(model: Model) -> None:
    await model.box("web1", 1, ("web",))
    shown = await model.ask("pserver.show", name="web1")
    assert (shown["never_connected"], shown["condition"]) == (True, "never connected")
    await model.write("UPDATE box SET first_seen_at = now(), connected = true")
    shown = await model.ask("pserver.show", name="web1")
    assert (shown["never_connected"], shown["condition"]) == (False, "connected")


@pytest_twisted.ensureDeferred
async def test_r249_system_information_is_shown_and_asked_for_anew(model: Model) -> None:
    box = await model.box("web1", 1, ("web",))
    await model.write('UPDATE box SET facts = \'{"kernel": "6.1"}\', facts_at = now()')
    assert (await model.ask("pserver.sysinfo", name="web1"))["facts"] == {"kernel": "6.1"}
    assert model.fleet.asked == [box["id"]]


@pytest_twisted.ensureDeferred
async def test_r255_a_box_with_logical_servers_is_not_deleted(model: Model) -> None:
    await model.box("web1", 1, ("web",))
    await model.server("web1", "web", "apache")
    error = await model.refused("pserver.delete", name="web1")
    assert (error.id, error.status) == ("pserver.in-use", 409)
    assert "web1.example.net" in error.allowed


@pytest_twisted.ensureDeferred
async def test_deleting_a_box_revokes_its_certificates(model: Model) -> None:
    box = await model.box("web1", 1, ("web",))
    await model.write(
        "INSERT INTO certificate (serial, name, box_id, not_after) VALUES (77, 'n', %s, now())",
        (box["id"],),
    )
    assert (await model.ask("pserver.delete", name="web1"))["revoked_certificates"] == 1
    assert model.fleet.revoked == [77]
    assert (await model.refused("pserver.show", name="web1")).status == 404


@pytest_twisted.ensureDeferred
async def test_a_dry_run_of_a_deletion_revokes_nothing(model: Model) -> None:
    box = await model.box("web1", 1, ("web",))
    await model.write(
        "INSERT INTO certificate (serial, name, box_id, not_after) VALUES (77, 'n', %s, now())",
        (box["id"],),
    )
    await model.run("pserver.delete", name="web1", dry_run=True)
    assert model.fleet.revoked == []
    assert (await model.ask("pserver.show", name="web1"))["name"] == "web1"


@pytest_twisted.ensureDeferred
async def test_r244_a_server_whose_group_is_not_on_the_box_is_refused(model: Model) -> None:
    await model.box("web1", 1, ("web", "mail"))
    error = await model.refused(
        "lserver.add", name="ns1.example.net", group="dns", type="bind", pserver="web1"
    )
    assert error.id == "lserver.group.not-on-box"


@pytest_twisted.ensureDeferred
async def test_r262_a_server_on_an_unknown_box_is_refused(model: Model) -> None:
    error = await model.refused(
        "lserver.add", name="ns1.example.net", group="dns", type="bind", pserver="nowhere"
    )
    assert (error.id, error.field, error.status) == ("pserver.unknown", "pserver", 422)


@pytest_twisted.ensureDeferred
async def test_r266_a_type_of_another_group_is_refused(model: Model) -> None:
    await model.box("b1", 1, ("web", "dns", "mail"))
    for group, type_, error_id in (
        ("dns", "apache", "lserver.type.invalid"),
        ("web", "nginy", "lserver.type.invalid"),
        ("mail", "bind", "lserver.type.invalid"),
        ("nonsense", "bind", "lserver.group.invalid"),
    ):
        error = await model.refused(
            "lserver.add", name="x.example.net", group=group, type=type_, pserver="b1"
        )
        assert error.id == error_id


@pytest_twisted.ensureDeferred
async def test_r268_a_description_is_one_line(model: Model) -> None:
    await model.box("b1", 1, ("web",))
    error = await model.refused(
        "lserver.add",
        name="x.example.net",
        group="web",
        type="apache",
        pserver="b1",
        description="two\nlines",
    )
    assert (error.id, error.field) == ("text.invalid", "description")


@pytest_twisted.ensureDeferred
async def test_settings_are_checked_by_the_service_type(model: Model) -> None:
    await model.box("b1", 1, ("web",))
    for settings in ({"timeout": 1}, {"timeout": "soon"}, {"no_such": 1}):
        error = await model.refused(
            "lserver.add",
            name="x.example.net",
            group="web",
            type="apache",
            pserver="b1",
            settings=settings,
        )
        assert error.id == "lserver.settings.invalid"
        assert error.field == f"settings.{next(iter(settings))}"
    assert "max_request_workers" in error.allowed


@pytest_twisted.ensureDeferred
async def test_r280_signup_is_off_on_a_new_server_and_can_be_switched(model: Model) -> None:
    await model.box("web1", 1, ("web",))
    assert (await model.server("web1", "web", "apache"))["signup"] is False
    assert (await model.ask("lserver.show", name="web1.example.net"))["signup"] is False
    first = await model.run("lserver.signup", name="web1.example.net", signup=True)
    again = await model.run("lserver.signup", name="web1.example.net", signup=True)
    assert first.change_id is not None
    assert again.change_id is None
    assert (await model.ask("lserver.show", name="web1.example.net"))["signup"] is True


@pytest_twisted.ensureDeferred
async def test_r25_two_name_servers_share_the_only_box(model: Model) -> None:
    await model.box("b1", 1, ("dns",))
    await model.server("ns1", "dns", "bind", "b1")
    second = await model.server("ns2", "dns", "bind", "b1")
    assert second["settings"] == {"control_port": 954}
    assert second["warnings"]


@pytest_twisted.ensureDeferred
async def test_r359_two_name_servers_do_not_share_a_box_when_there_are_more(model: Model) -> None:
    await model.box("b1", 1, ("dns",))
    await model.box("b2", 2, ("dns",))
    await model.server("ns1", "dns", "bind", "b1")
    error = await model.refused(
        "lserver.add", name="ns2.example.net", group="dns", type="bind", pserver="b1"
    )
    assert error.id == "lserver.dns.one-per-box"


@pytest_twisted.ensureDeferred
async def test_r259_a_second_server_of_a_type_on_a_box_is_warned_of(model: Model) -> None:
    await model.box("b1", 1, ("web",))
    first = (await model.server("web1", "web", "apache", "b1"))["warnings"]
    second = (await model.server("web2", "web", "apache", "b1"))["warnings"]
    assert not any("of a type per box" in warning for warning in first)
    assert any("one of a type per box is recommended" in warning for warning in second)


@pytest_twisted.ensureDeferred
async def test_control_port_of_another_server_on_the_box_is_refused(model: Model) -> None:
    await model.box("b1", 1, ("dns",))
    await model.server("ns1", "dns", "bind", "b1")
    error = await model.refused(
        "lserver.add",
        name="ns2.example.net",
        group="dns",
        type="bind",
        pserver="b1",
        settings={"control_port": 953},
    )
    assert error.id == "lserver.control-port.taken"


@pytest_twisted.ensureDeferred
async def test_r286_a_server_with_sites_or_zones_is_not_deleted(model: Model) -> None:
    await model.shop()
    for server in ("ns1", "web1"):
        error = await model.refused("lserver.delete", name=f"{server}.example.net")
        assert error.id == "lserver.in-use"


@pytest_twisted.ensureDeferred
async def test_r287_a_server_with_addresses_is_not_deleted_and_one_without_is(
    model: Model,
) -> None:
    await model.cluster()
    error = await model.refused("lserver.delete", name="web1.example.net")
    assert error.id == "lserver.in-use"
    await model.ask("ip.delete", ip="192.0.2.3")
    assert await model.objects("web1.example.net") == {}
    await model.ask("lserver.delete", name="web1.example.net")
    assert (await model.refused("lserver.show", name="web1.example.net")).status == 404
    await model.ask("pserver.delete", name="web1")


@pytest_twisted.ensureDeferred
async def test_s35_all_name_servers_share_one_sealed_transfer_key(model: Model) -> None:
    await model.cluster()
    first = (await model.objects("ns1.example.net"))["server", ""]["transfer_key"]
    second = (await model.objects("ns2.example.net"))["server", ""]["transfer_key"]
    assert first == second
    ((secret_id, name),) = await model.rows("SELECT id, name FROM secret")
    assert name == "transfer-key"
    assert first["secret"].startswith(f"secret:{secret_id}:")
    ((listed,),) = await model.rows(
        """SELECT DISTINCT secrets FROM desired_object WHERE kind = 'server' AND secrets <> '{}'"""
    )
    assert listed == [secret_id]


@pytest_twisted.ensureDeferred
async def test_a_web_server_with_tls_has_a_fallback_certificate(model: Model) -> None:
    await model.box("web1", 1, ("web",))
    await model.ask(
        "lserver.add",
        name="web1.example.net",
        group="web",
        type="apache",
        pserver="web1",
        settings={"tls_port": 443},
    )
    await model.ask(
        "ip.add", lserver="web1.example.net", first="192.0.2.3", mask="24", type="shared"
    )
    fallback = (await model.objects("web1.example.net"))["server", ""]["fallback"]
    assert all(text.startswith("secret:") for text in fallback.values())


@pytest_twisted.ensureDeferred
async def test_r20_the_service_zone_names_the_servers_and_the_panel(model: Model) -> None:
    await model.cluster()
    zone = (await model.objects("ns1.example.net"))["zone", "example.net"]
    assert zone["role"] == "master"
    assert {(r["owner"], r["type"], r["data"]) for r in zone["records"]} == {
        ("@", "NS", "ns1.example.net."),
        ("@", "NS", "ns2.example.net."),
        ("ns1", "A", "192.0.2.1"),
        ("ns2", "A", "192.0.2.2"),
        ("web1", "A", "192.0.2.3"),
        ("cp", "A", "198.51.100.99"),
    }
    other = (await model.objects("ns2.example.net"))["zone", "example.net"]
    assert other == {"role": "secondary", "masters": [{"address": "192.0.2.1", "port": 53}]}


@pytest_twisted.ensureDeferred
async def test_the_service_zone_moves_when_its_master_goes(model: Model) -> None:
    await model.cluster()
    await model.approved("ip.delete", ip="192.0.2.1")
    assert await model.objects("ns1.example.net") == {}
    zone = (await model.objects("ns2.example.net"))["zone", "example.net"]
    assert zone["role"] == "master"
    assert ("ns1", "A") not in {(r["owner"], r["type"]) for r in zone["records"]}
    await model.approved("ip.delete", ip="192.0.2.2")
    assert await model.rows("SELECT name FROM zone") == []


@pytest_twisted.ensureDeferred
async def test_lists_come_in_pages_and_narrow_down(model: Model) -> None:
    await model.cluster()
    first = await model.ask("pserver.list", limit=2)
    assert [item["name"] for item in first["items"]] == ["ns1", "ns2"]
    rest = await model.ask("pserver.list", limit=2, cursor=first["next"])
    assert ([item["name"] for item in rest["items"]], rest["next"]) == (["web1"], None)
    assert len((await model.ask("pserver.list", filter="s"))["items"]) == 2
    assert len((await model.ask("lserver.list", group="web"))["items"]) == 1
    assert len((await model.ask("ip.list", lserver="ns1.example.net"))["items"]) == 1
    assert (await model.refused("pserver.list", limit=1001)).id == "list.limit.invalid"
    assert (await model.refused("pserver.list", cursor="x")).id == "list.cursor.invalid"


@pytest_twisted.ensureDeferred
async def test_status_shows_boxes_and_lanes(model: Model) -> None:
    await model.shop()
    status = await model.ask("status.show")
    assert status["counts"] == {
        "boxes": 3,
        "boxes_in_trouble": 3,
        "boxes_never_connected": 0,
        "logical_servers": 3,
        "faults": 0,
        "accounts": 1,
        "domains": 1,
    }
    assert {box["condition"] for box in status["boxes"]} == {"lost"}
    assert {lane["logical_server"] for lane in status["lanes"]} == {
        f"{name}.example.net" for name in ("ns1", "ns2", "web1")
    }


@pytest_twisted.ensureDeferred
async def test_a_lane_counts_the_objects_that_it_could_not_apply(model: Model) -> None:
    await model.shop()
    await model.write(
        """INSERT INTO object_outcome (box_id, logical_server_id, kind, key, revision, outcome)
           SELECT l.box_id, l.logical_server_id, o.kind, o.key, o.revision, 'failed'
           FROM desired_object o JOIN lane l ON l.logical_server_id = o.logical_server_id
           JOIN logical_server s ON s.id = l.logical_server_id
           WHERE s.name = 'ns1.example.net' AND o.kind = 'zone'"""
    )
    counted = {"ns1.example.net": 2, "ns2.example.net": 0, "web1.example.net": 0}
    status = await model.ask("status.show")
    assert {lane["logical_server"]: lane["faults"] for lane in status["lanes"]} == counted
    servers = (await model.ask("lserver.list"))["items"]
    assert {each["name"]: each["lanes"][0]["faults"] for each in servers} == counted
