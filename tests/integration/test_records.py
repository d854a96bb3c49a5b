"""Records and zone files: what a zone takes, and what its servers are then told."""

import pytest
import pytest_twisted

from tests.integration.model import Model

Told = tuple[int | None, int | None]
"""The change that a write made, and the one by which it was so already."""


async def zone(model: Model, name: str = "shop.test") -> dict[str, object]:
    """Give the master's object of a zone."""
    shown = await model.ask("domain.show", name=name)
    (master,) = [s["name"] for s in shown["name_servers"] if s["role"] == "master"]
    return (await model.objects(master))["zone", name]


async def records(model: Model, name: str = "shop.test") -> set[tuple[str, str, str]]:
    return {(r["owner"], r["type"], r["data"]) for r in (await zone(model, name))["records"]}


@pytest_twisted.ensureDeferred
async def test_r29_a_record_gives_the_master_alone_a_new_object(model: Model) -> None:
    await model.shop()
    before = await zone(model)
    answer = await model.run(
        "record.add", domain="shop.test", name="WWW2", type="a", values=("192.0.2.7",)
    )
    assert answer.result["records"] == [
        {
            "name": "www2",
            "fqdn": "www2.shop.test",
            "type": "A",
            "ttl": 3600,
            "data": "192.0.2.7",
            "generated": False,
        }
    ]
    after = await zone(model)
    assert after["serial"] == answer.result["serial"] > before["serial"]
    assert ("www2", "A", "192.0.2.7") in await records(model)
    touched = await model.rows(
        "SELECT kind, key FROM change_object WHERE change_id = %s", (answer.change_id,)
    )
    watched = await model.rows(
        """SELECT s.name, w.zone, w.serial FROM change_watch w
           JOIN logical_server s ON s.id = w.logical_server_id WHERE change_id = %s""",
        (answer.change_id,),
    )
    shown = await model.ask("domain.show", name="shop.test")
    (secondary,) = [s["name"] for s in shown["name_servers"] if s["role"] == "secondary"]
    assert touched == [("zone", "shop.test")]
    assert watched == [(secondary, "shop.test", after["serial"])]


@pytest_twisted.ensureDeferred
async def test_a_bad_record_changes_nothing(model: Model) -> None:
    await model.shop()
    good = {"domain": "shop.test", "name": "x", "type": "A", "values": ("192.0.2.7",)}
    for fields, error_id in (
        ({"name": "bad name", "values": ("nonsense",)}, "record.name.invalid"),
        ({"values": ("nonsense",)}, "record.value.invalid"),
        ({"values": ()}, "record.value.invalid"),
        ({"type": "SOA"}, "record.type.invalid"),
        ({"name": "x.other.test."}, "record.name.out-of-zone"),
        ({"ttl": -1}, "record.ttl.invalid"),
        ({"ttl": 2**31}, "record.ttl.invalid"),
        ({"name": "@", "type": "CNAME", "values": ("a.test",)}, "record.cname.apex"),
        ({"name": "www", "type": "CNAME", "values": ("a.test",)}, "record.cname.beside"),
        ({"name": "@", "type": "NS", "values": ("ns.evil.test",)}, "record.generated"),
        ({"name": "www", "values": ("192.0.2.3",)}, "record.duplicate"),
        ({"name": "www", "ttl": 5}, "record.ttl.differs"),
        ({"domain": "none.test"}, "domain.unknown"),
        ({"domain": "a b"}, "domain.unknown"),
        ({"values": ("192.0.2.7\n@ A 192.0.2.8",)}, "record.value.invalid"),
        ({"type": "TXT", "values": ('"a" b',)}, "record.value.invalid"),
    ):
        error = await model.refused("record.add", **{**good, **fields})
        assert error.id == error_id, fields
        assert error.allowed or error.status == 409


@pytest_twisted.ensureDeferred
async def test_set_replaces_the_records_of_one_name_and_type(model: Model) -> None:
    await model.shop()
    values = ("192.0.2.8", "192.0.2.9")
    first = await model.run(
        "record.set", domain="shop.test", name="www", type="A", values=values, ttl=60
    )
    assert {r for r in await records(model) if r[:2] == ("www", "A")} == {
        ("www", "A", value) for value in values
    }
    again = await model.run(
        "record.set", domain="shop.test", name="www", type="A", values=values, ttl=60
    )
    assert first.change_id is not None
    assert again.change_id is None
    assert again.result["serial"] == first.result["serial"]


@pytest_twisted.ensureDeferred
async def test_a_write_that_is_repeated_names_the_change_by_which_it_is_so(model: Model) -> None:
    """Else a script that repeats what was not known to be live is told that all is well."""
    await model.shop()

    async def wish(name: str, value: str = "192.0.2.8", key: str | None = None) -> Told:
        fields = {"domain": "shop.test", "name": name, "type": "A", "values": (value,)}
        done = await model.run("record.set", **fields, idempotency_key=key)
        return done.change_id, done.since

    first, since = await wish("one")
    assert since is None
    assert await wish("one") == (None, first)
    assert (await wish("two"))[0] is not None
    assert await wish("one") == (None, first), "another record of the zone says nothing of it"
    other, _ = await wish("one", "192.0.2.9")
    assert other is not None
    undone = await model.run("change.undo", id=other)
    assert await wish("one") == (None, undone.change_id), "which brought it back"
    assert await wish("one", key="k") == (None, undone.change_id)
    assert await wish("one", key="k") == (None, undone.change_id), "a lost answer is told again"


@pytest_twisted.ensureDeferred
async def test_an_ambiguous_delete_is_refused_and_names_the_candidates(model: Model) -> None:
    await model.shop()
    await model.ask("record.add", domain="shop.test", name="www", type="A", values=("192.0.2.8",))
    error = await model.refused("record.delete", domain="shop.test", name="www", type="A")
    assert (error.id, error.status) == ("record.delete.ambiguous", 409)
    assert "192.0.2.3" in error.allowed
    assert "192.0.2.8" in error.allowed
    await model.ask(
        "record.delete", domain="shop.test", name="www", type="A", values=("192.0.2.3",)
    )
    await model.ask("record.delete", domain="shop.test", name="www")
    assert not {r for r in await records(model) if r[0] == "www"}
    error = await model.refused("record.delete", domain="shop.test", name="www")
    assert (error.id, error.status) == ("record.unknown", 404)


@pytest_twisted.ensureDeferred
async def test_generated_name_server_records_are_not_deleted_nor_replaced(model: Model) -> None:
    await model.shop()
    error = await model.refused("record.delete", domain="shop.test", name="@", type="NS")
    assert error.id == "record.generated"
    error = await model.refused(
        "record.set", domain="shop.test", name="@", type="NS", values=("ns.evil.test",)
    )
    assert error.id == "record.generated"


@pytest_twisted.ensureDeferred
async def test_a_name_server_below_the_domain_has_its_address_in_the_zone(model: Model) -> None:
    await model.cluster()
    await model.ask("account.add", name="acme")
    await model.write(
        "UPDATE logical_server SET name = 'ns.shop.test' WHERE name = 'ns1.example.net'"
    )
    await model.ask("domain.add", name="shop.test", account="acme")
    assert ("ns", "A", "192.0.2.1") in await records(model)
    error = await model.refused("record.delete", domain="shop.test", name="ns")
    assert error.id == "record.generated"


@pytest_twisted.ensureDeferred
async def test_records_are_listed_in_pages(model: Model) -> None:
    await model.shop()
    first = await model.ask("record.list", domain="shop.test", limit=3)
    rest = await model.ask("record.list", domain="shop.test", limit=3, cursor=first["next"])
    listed = [(r["name"], r["type"]) for r in first["items"] + rest["items"]]
    assert listed == [("@", "A"), ("@", "NS"), ("@", "NS"), ("www", "A")]
    only = await model.ask("record.list", domain="shop.test", name="www", type="A")
    assert len(only["items"]) == 1


@pytest_twisted.ensureDeferred
async def test_an_exported_zone_comes_back_as_it_was(model: Model) -> None:
    await model.shop()
    await model.ask(
        "record.add", domain="shop.test", name="@", type="TXT", values=('v=x; "q" \\ $INCLUDE x',)
    )
    await model.ask("record.add", domain="shop.test", name="@", type="MX", values=("10 mail",))
    before = await records(model)
    text = (await model.ask("domain.export", name="shop.test"))["text"]
    same = await model.run("domain.import", name="shop.test", text=text, replace=True)
    assert same.result["read"] == 4
    assert await records(model) == before


@pytest_twisted.ensureDeferred
async def test_an_import_makes_the_domain_where_an_account_is_named(model: Model) -> None:
    await model.cluster()
    await model.ask("account.add", name="acme")
    text = "$TTL 60\n@ IN SOA a. b. 1 2 3 4 5\n@ NS ns.old.test.\nmail A 192.0.2.9\n"
    error = await model.refused("domain.import", name="shop.test", text=text)
    assert error.id == "domain.unknown"
    answer = await model.ask("domain.import", name="shop.test", text=text, account="acme")
    assert (answer["made"], answer["read"]) == (True, 1)
    found = await records(model)
    assert ("mail", "A", "192.0.2.9") in found
    assert not any(r[2] == "ns.old.test." for r in found)


@pytest_twisted.ensureDeferred
async def test_a_byte_order_mark_is_no_part_of_a_master_file(model: Model) -> None:
    await model.shop()
    text = "\ufeff@ 60 A 192.0.2.1\r\nwin 60 A 192.0.2.2\r\n"
    answer = await model.ask("domain.import", name="shop.test", text=text)
    assert answer["read"] == 2


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("a A 192.0.2.1\n", "zone file:1: Missing default TTL"),
        ("$TTL 60\n\na A 192.0.2.1\na MX mail\nb A 192.0.2.1\n", "zone file:4: "),
        ('$TTL 60\na TXT "open\nb A 192.0.2.1\n', "zone file:2: "),
        ("$TTL 60\na A 192.0.2.1\nb TXT ( a\nc A 192.0.2.1\n", "zone file:3: "),
        ("$TTL 60\n$INCLUDE x\n", "zone file:2: "),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_bad_master_file_is_refused_with_the_line_that_is_bad(
    model: Model, text: str, where: str
) -> None:
    await model.shop()
    error = await model.refused("domain.import", name="shop.test", text=text)
    assert where in error.message
    assert "TTL" in error.allowed


@pytest_twisted.ensureDeferred
async def test_a_bad_master_file_changes_nothing(model: Model) -> None:
    await model.shop()
    for text, error_id in (
        ("$INCLUDE /etc/passwd\n", "zone-file.invalid"),
        ("$TTL 60\n$GENERATE 1-9 a$ A 192.0.2.$\n", "zone-file.invalid"),
        ("what is this\n", "zone-file.invalid"),
        ("www A 192.0.2.1\0\n", "text.nul"),
        ("a.other.test. 60 IN A 192.0.2.1\n", "record.name.out-of-zone"),
        ("x 60 IN DNSKEY 256 3 8 AAAA\n", "record.type.invalid"),
        ("www 60 IN CNAME a.test.\n", "record.cname.beside"),
        ("", "zone-file.empty"),
    ):
        error = await model.refused(
            "domain.import", name="shop.test", text=text, replace=error_id == "zone-file.empty"
        )
        assert error.id == error_id, text
