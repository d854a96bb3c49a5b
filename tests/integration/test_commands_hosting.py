"""Accounts, domains and sites: what is written, and what is refused before that."""

import pytest
import pytest_twisted

from tests.integration.key_pairs import pair
from tests.integration.model import NOW, Model


@pytest_twisted.ensureDeferred
async def test_r72_an_account_has_a_numeric_id(model: Model) -> None:
    answer = await model.ask("account.add", name="Acme")
    assert isinstance(answer["id"], int)
    assert (await model.ask("account.show", name="acme"))["domains"] == 0


@pytest_twisted.ensureDeferred
async def test_bad_and_taken_account_names_are_refused(model: Model) -> None:
    await model.ask("account.add", name="acme")
    for name in ("", "a b", "-a", "a\n", "a;b", "ä", "x" * 65, "../a"):
        assert (await model.refused("account.add", name=name)).id == "account.name.invalid"
    taken = await model.refused("account.add", name="ACME")
    assert (taken.id, taken.allowed) == ("account.name.taken", "a name that no account has")


@pytest_twisted.ensureDeferred
async def test_an_account_with_domains_is_not_deleted(model: Model) -> None:
    await model.shop()
    error = await model.refused("account.delete", name="acme")
    assert (error.id, "shop.test" in error.allowed) == ("account.in-use", True)
    await model.ask("domain.delete", name="shop.test")
    await model.ask("account.delete", name="acme")
    assert (await model.refused("account.show", name="acme")).status == 404


@pytest_twisted.ensureDeferred
async def test_r16_a_bad_domain_name_is_refused(model: Model) -> None:
    await model.shop()
    for name in ("test..com", "-a.test", "a" * 64 + ".test", "shop.test\n", "one", "a.1"):
        error = await model.refused("domain.add", name=name, account="acme")
        assert (error.id, error.field) == ("domain.name.invalid", "name")


@pytest_twisted.ensureDeferred
async def test_an_idn_is_stored_as_a_label_and_shown_as_written(model: Model) -> None:
    await model.shop()
    answer = await model.ask("domain.add", name="Bücher.test", account="acme")
    assert (answer["name"], answer["unicode"]) == ("xn--bcher-kva.test", "bücher.test")


@pytest_twisted.ensureDeferred
async def test_a_domain_that_is_hosted_already_is_refused(model: Model) -> None:
    await model.shop()
    await model.ask("account.add", name="other")
    for account in ("acme", "other"):
        error = await model.refused("domain.add", name="SHOP.test.", account=account)
        assert (error.id, error.status) == ("domain.name.taken", 422)


@pytest_twisted.ensureDeferred
async def test_s34_child_and_parent_of_another_accounts_domain_are_refused(model: Model) -> None:
    await model.shop()
    await model.ask("account.add", name="other")
    await model.ask("domain.add", name="a.b.deep.test", account="acme")
    child = await model.refused("domain.add", name="mail.shop.test", account="other")
    parent = await model.refused("domain.add", name="deep.test", account="other")
    between = await model.refused("domain.add", name="b.deep.test", account="other")
    assert child.id == "domain.child-of-other"
    assert parent.id == between.id == "domain.parent-of-other"
    await model.ask("domain.add", name="mail.shop.test", account="acme")
    await model.ask("domain.add", name="shop-a.test", account="other")


@pytest_twisted.ensureDeferred
async def test_s34_the_service_domain_is_protected(model: Model) -> None:
    await model.shop()
    for name in ("example.net", "x.example.net", "cp.example.net"):
        error = await model.refused("domain.add", name=name, account="acme")
        assert error.id == "domain.service"
    assert (await model.refused("domain.delete", name="example.net")).id == "domain.unknown"
    error = await model.refused(
        "record.add", domain="example.net", name="x", type="A", values=("192.0.2.9",)
    )
    assert error.id == "domain.unknown"


@pytest_twisted.ensureDeferred
async def test_an_unknown_account_is_refused(model: Model) -> None:
    await model.cluster()
    error = await model.refused("domain.add", name="shop.test", account="nobody")
    assert (error.id, error.field, error.status) == ("account.unknown", "account", 422)


@pytest_twisted.ensureDeferred
async def test_r280_a_domain_goes_only_to_servers_open_for_signup(model: Model) -> None:
    await model.cluster()
    await model.ask("account.add", name="acme")
    await model.ask("lserver.signup", name="web1.example.net", signup=False)
    error = await model.refused("domain.add", name="shop.test", account="acme")
    assert (error.id, "signup on" in error.allowed) == ("web.none-open", True)
    await model.ask("domain.add", name="shop.test", account="acme", on="web1.example.net")
    for server in ("ns1", "ns2"):
        await model.ask("lserver.signup", name=f"{server}.example.net", signup=False)
    error = await model.refused("domain.add", name="b.test", account="acme", on="web1.example.net")
    assert error.id == "dns.none-open"


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("intent", ["no-signup", "draining", "maintenance"])
async def test_nothing_is_placed_on_a_box_that_is_not_open(model: Model, intent: str) -> None:
    await model.cluster()
    await model.ask("account.add", name="acme")
    await model.write("UPDATE box SET intent = %s WHERE name = 'web1'", (intent,))
    assert (await model.refused("domain.add", name="a.test", account="acme")).id == (
        "web.none-open"
    )


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(("box", "refusal"), [("web1", "web.none-open"), ("ns1", None)])
async def test_nothing_is_placed_on_a_box_that_never_connected(
    model: Model, box: str, refusal: str | None
) -> None:
    await model.cluster()
    await model.ask("account.add", name="acme")
    await model.write("UPDATE box SET first_seen_at = NULL WHERE name = %s", (box,))
    if refusal is not None:
        assert (await model.refused("domain.add", name="a.test", account="acme")).id == refusal
        return
    added = await model.ask("domain.add", name="a.test", account="acme")
    assert [server["name"] for server in added["name_servers"]] == ["ns2.example.net"]


@pytest_twisted.ensureDeferred
async def test_a_site_goes_only_to_a_web_server_with_a_shared_ip(model: Model) -> None:
    await model.cluster()
    await model.ask("account.add", name="acme")
    for name, error_id in (
        ("ns1.example.net", "domain.on.unfit"),
        ("nowhere.example.net", "lserver.unknown"),
    ):
        error = await model.refused("domain.add", name="a.test", account="acme", on=name)
        assert (error.id, error.field) == (error_id, "on")


@pytest_twisted.ensureDeferred
async def test_a_master_that_overtook_its_lane_is_shown_to_serve_what_it_applied(
    model: Model,
) -> None:
    async def seen() -> list[int | None]:
        shown = await model.ask("domain.show", name="shop.test")
        return [s["seen"] for s in shown["name_servers"] if s["role"] == "master"]

    serial = (await model.shop())["serial"]
    assert await seen() == [None]
    await model.write(
        "INSERT INTO applied_early SELECT l.box_id, l.logical_server_id, o.kind, o.key,"
        " o.revision - 1 FROM desired_object o JOIN lane l USING (logical_server_id)"
        " WHERE o.kind = 'zone' AND o.key = 'shop.test'"
    )
    assert await seen() == [None]
    await model.write("UPDATE applied_early SET revision = revision + 1")
    assert await seen() == [serial]


@pytest_twisted.ensureDeferred
async def test_r28_a_zone_is_on_both_name_servers_and_r26_its_draw_is_kept(model: Model) -> None:
    answer = await model.shop()
    kept = await model.rows(
        """SELECT s.name, n.role FROM zone_server n JOIN zone z ON z.id = n.zone_id
           JOIN logical_server s ON s.id = n.logical_server_id WHERE z.name = 'shop.test'"""
    )
    assert {(s["name"], s["role"]) for s in answer["name_servers"]} == set(kept)
    assert {name for name, _ in kept} == {"ns1.example.net", "ns2.example.net"}


@pytest_twisted.ensureDeferred
async def test_r26_masters_of_many_domains_are_on_both_servers(model: Model) -> None:
    await model.shop()
    for number in range(12):
        await model.ask("domain.add", name=f"d{number}.test", account="acme")
    masters = await model.rows(
        "SELECT DISTINCT logical_server_id FROM zone_server WHERE role = 'master'"
    )
    assert len(masters) == 2


@pytest_twisted.ensureDeferred
async def test_a_dry_run_tells_the_draw_and_writes_nothing(model: Model) -> None:
    await model.cluster()
    await model.ask("account.add", name="acme")
    before = await model.footprint()
    answer = await model.run("domain.add", name="shop.test", account="acme", dry_run=True)
    assert await model.footprint() == before
    assert answer.change_id is None
    assert answer.plan is not None
    assert set(answer.plan.drawn) == {
        "master name server",
        "secondary name servers",
        "web server",
    }
    assert {(o.action, o.kind, o.key, o.logical_server, o.boxes) for o in answer.plan.objects} == {
        ("add", "zone", "shop.test", "ns1.example.net", ("ns1",)),
        ("add", "zone", "shop.test", "ns2.example.net", ("ns2",)),
        ("add", "site", "shop.test", "web1.example.net", ("web1",)),
    }
    assert ("add", "domain", "shop.test") in {
        (row.action, row.relation, row.key) for row in answer.plan.rows
    }


@pytest_twisted.ensureDeferred
async def test_deleting_a_domain_takes_all_of_it_in_one_change(model: Model) -> None:
    await model.shop()
    answer = await model.run("domain.delete", name="shop.test")
    assert answer.result["site"] == "web1.example.net"
    assert answer.result["records"] == 4
    touched = await model.rows(
        "SELECT kind, key, after FROM change_object WHERE change_id = %s", (answer.change_id,)
    )
    assert sorted(touched) == [
        ("site", "shop.test", None),
        ("zone", "shop.test", None),
        ("zone", "shop.test", None),
    ]
    for server in ("ns1", "ns2", "web1"):
        keys = {key for _, key in await model.objects(f"{server}.example.net")}
        assert "shop.test" not in keys
    for table in ("domain", "site", "record WHERE zone_id NOT IN (SELECT id FROM zone)"):
        assert await model.rows(f"SELECT 1 FROM {table}") == []
    again = await model.ask("domain.add", name="shop.test", account="acme")
    assert again["serial"] >= NOW


@pytest_twisted.ensureDeferred
async def test_domains_are_listed_by_account_and_beginning(model: Model) -> None:
    await model.shop()
    await model.ask("account.add", name="other")
    await model.ask("domain.add", name="art.test", account="other")
    listed = await model.ask("domain.list", limit=1)
    assert [d["name"] for d in listed["items"]] == ["art.test"]
    rest = await model.ask("domain.list", limit=1, cursor=listed["next"])
    assert [d["name"] for d in rest["items"]] == ["shop.test"]
    own = await model.ask("domain.list", account="acme")
    assert [d["name"] for d in own["items"]] == ["shop.test"]
    found = await model.ask("domain.list", filter="ar")
    assert [d["name"] for d in found["items"]] == ["art.test"]


@pytest_twisted.ensureDeferred
async def test_a_site_with_settings_is_projected_and_back(model: Model) -> None:
    await model.shop()
    shown = await model.ask("site.set", name="shop.test", index=("start.html",), indexes=True)
    assert shown["settings"]["index"] == ["start.html"]
    spec = (await model.objects("web1.example.net"))["site", "shop.test"]
    assert spec["settings"]["indexes"] is True
    await model.ask("site.set", name="shop.test", plain=True)
    assert (await model.objects("web1.example.net"))["site", "shop.test"]["settings"] is None
    assert (await model.ask("site.show", name="shop.test"))["settings"] is None


@pytest_twisted.ensureDeferred
async def test_s17_hostile_site_settings_are_refused(model: Model) -> None:
    await model.shop()
    for fields, error_id in (
        ({"index": ("../x",)}, "site.index.invalid"),
        ({"index": ("a b",)}, "site.index.invalid"),
        ({"index": ("a\nb",)}, "site.index.invalid"),
        ({"redirect_to": "javascript:alert(1)"}, "site.redirect.invalid"),
        ({"redirect_to": "http://u%0areturn@x.test/"}, "site.redirect.invalid"),
        ({"redirect_to": "http://a.test/\nServerAlias x"}, "site.redirect.invalid"),
        ({"redirect_to": 'http://a.test/"x'}, "site.redirect.invalid"),
        ({"redirect_to": "http://a..test/"}, "site.redirect.invalid"),
        ({"redirect_to": "http://a.test:99999/"}, "site.redirect.invalid"),
    ):
        error = await model.refused("site.set", name="shop.test", **fields)
        assert error.id == error_id, fields


@pytest_twisted.ensureDeferred
async def test_the_key_of_a_site_is_kept_sealed_and_nowhere_in_clear(model: Model) -> None:
    await model.shop()
    certificate, key = pair("shop.test")
    answer = await model.run("site.set", name="shop.test", certificate=certificate, key=key)
    assert answer.result["has_certificate"] is True
    spec = (await model.objects("web1.example.net"))["site", "shop.test"]
    assert spec["certificate"]["key"].startswith("secret:")
    body = key.splitlines()[1]
    everywhere = await model.rows(
        """SELECT string_agg(t, '') FROM (
               SELECT c::text AS t FROM change c UNION ALL SELECT r::text FROM change_row r
               UNION ALL SELECT encode(coalesce(o.after, ''), 'escape') FROM change_object o
               UNION ALL SELECT encode(s.sealed, 'escape') FROM secret s) x"""
    )
    assert body not in everywhere[0][0]
    await model.ask("site.set", name="shop.test", certificate="")
    assert (await model.ask("site.show", name="shop.test"))["has_certificate"] is False
    assert await model.rows("SELECT 1 FROM secret WHERE starts_with(name, 'site:')") == []


@pytest_twisted.ensureDeferred
async def test_a_certificate_that_does_not_fit_is_refused(model: Model) -> None:
    await model.shop()
    good, key = pair("shop.test")
    other, other_key = pair("other.test")
    old, old_key = pair("shop.test", days=-1)
    for certificate, private, error_id in (
        ("nonsense", key, "certificate.invalid"),
        (good, "nonsense", "certificate.key.invalid"),
        (good, other_key, "certificate.key.invalid"),
        (other, other_key, "certificate.name"),
        (old, old_key, "certificate.expired"),
    ):
        error = await model.refused(
            "site.set", name="shop.test", certificate=certificate, key=private
        )
        assert error.id == error_id
        assert "PRIVATE" not in str(error) + error.value


@pytest_twisted.ensureDeferred
async def test_www_as_a_domain_of_its_own_is_no_alias_any_more(model: Model) -> None:
    await model.shop()
    assert (await model.objects("web1.example.net"))["site", "shop.test"]["www"] is True
    await model.ask("domain.add", name="www.shop.test", account="acme")
    assert (await model.objects("web1.example.net"))["site", "shop.test"]["www"] is False
    await model.ask("domain.delete", name="www.shop.test")
    assert (await model.objects("web1.example.net"))["site", "shop.test"]["www"] is True
