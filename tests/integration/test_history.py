"""What was: every version of an object, and where a line of a rendered file comes from."""

from typing import Any

import pytest
import pytest_twisted

from templates.bind.layout import master_file
from tests.integration.key_pairs import pair
from tests.integration.model import Model

STATE = "/var/lib/heliosphere/lanes"


async def place(model: Model, server: str, path: str) -> str:
    """Give a path below the folder of a logical server, as it is on its box."""
    ((id_,),) = await model.rows(
        "SELECT id::text FROM logical_server WHERE name = %s", (f"{server}.example.net",)
    )
    return f"{STATE}/{id_}/{path}"


async def master(model: Model) -> str:
    shown = await model.ask("domain.show", name="shop.test")
    (name,) = [s["name"] for s in shown["name_servers"] if s["role"] == "master"]
    return str(name).partition(".")[0]


async def zone_line(model: Model, words: str) -> tuple[dict[str, Any], list[str]]:
    """Ask why of the line of shop.test's zone file that begins with ``words``."""
    box = await master(model)
    file = await place(model, box, master_file("shop.test"))
    lines = []
    for line in range(1, 40):
        answer = await model.ask("pserver.why", name=box, file=file, line=line)
        lines.append(answer["text"])
        if answer["text"].startswith(words):
            return answer, lines
    raise AssertionError(lines)


@pytest_twisted.ensureDeferred
async def test_every_version_of_a_zone_is_told_newest_first(model: Model) -> None:
    await model.shop()
    added = await model.run(
        "record.add", domain="shop.test", name="a", type="A", values=("192.0.2.9",)
    )
    gone = await model.run("record.delete", domain="shop.test", name="a")
    name = f"{await master(model)}.example.net"
    answer = await model.ask("object.history", kind="zone", key="shop.test", lserver=name)
    items = answer["items"]
    assert [item["change"] for item in items[:2]] == [gone.change_id, added.change_id]
    assert [item["action"] for item in items] == ["changed", "changed", "added"]
    assert [item["command"] for item in items] == ["record.delete", "record.add", "domain.add"]
    assert {item["actor"] for item in items} == {"operator:ada"}
    assert {item["diff"] for item in items} == {None}
    every = (await model.ask("object.history", kind="zone", key="shop.test"))["items"]
    assert len(every) == 4  # the secondary was told once


@pytest_twisted.ensureDeferred
async def test_the_history_comes_by_pages(model: Model) -> None:
    await model.shop()
    for number in range(5):
        await model.ask(
            "record.add", domain="shop.test", name=f"n{number}", type="A", values=("192.0.2.9",)
        )
    seen, cursor = [], ""
    while cursor is not None:
        page = await model.ask(
            "object.history", kind="zone", key="shop.test", limit=2, cursor=cursor
        )
        seen += [(item["change"], item["logical_server"]) for item in page["items"]]
        cursor = page["next"]
    assert len(seen) == len(set(seen)) == 7
    assert [change for change, _ in seen] == sorted((c for c, _ in seen), reverse=True)
    for cursor in ("x", "IngiCg", "IjEi", "IjEgeCI"):
        error = await model.refused("object.history", kind="zone", key="shop.test", cursor=cursor)
        assert error.id == "list.cursor.invalid"


@pytest_twisted.ensureDeferred
async def test_what_changed_between_versions_is_told_without_secrets(model: Model) -> None:
    await model.shop()
    chain, key = pair("shop.test")
    await model.ask("site.set", name="shop.test", certificate=chain, key=key)
    await model.ask(
        "record.add", domain="shop.test", name="a", type="A", values=("192.0.2.9",), ttl=60
    )
    zones = await model.ask("object.history", kind="zone", key="shop.test", diff=True)
    assert '+records: owner "a", ttl 60, type "A", data "192.0.2.9"' in zones["items"][0]["diff"]
    sites = await model.ask("object.history", kind="site", key="shop.test", diff=True)
    assert "+certificate.key = (secret)" in sites["items"][0]["diff"]
    assert "secret:" not in str(sites)
    error = await model.refused("object.history", kind="zone", key="shop.test", diff=True, limit=51)
    assert error.id == "list.limit.invalid"


@pytest_twisted.ensureDeferred
async def test_a_deleted_server_keeps_its_history(model: Model) -> None:
    await model.cluster()
    await model.ask("ip.delete", ip="192.0.2.3")
    await model.ask("lserver.delete", name="web1.example.net")
    items = (await model.ask("object.history", kind="server"))["items"]
    assert [item["action"] for item in items if not item["logical_server"]] == ["removed", "added"]


@pytest_twisted.ensureDeferred
async def test_an_object_that_never_was_is_unknown(model: Model) -> None:
    await model.shop()
    error = await model.refused("object.history", kind="zone", key="other.test")
    assert (error.id, error.status) == ("object.unknown", 404)


@pytest_twisted.ensureDeferred
async def test_a_line_of_a_zone_leads_to_the_change_of_its_record(model: Model) -> None:
    await model.shop()
    first = await model.run(
        "record.add", domain="shop.test", name="a", type="A", values=("192.0.2.9",)
    )
    second = await model.run(
        "record.add", domain="shop.test", name="b", type="A", values=("192.0.2.9",)
    )
    answer, lines = await zone_line(model, "b.shop.test.")
    assert (answer["kind"], answer["key"], answer["exact"]) == ("zone", "shop.test", True)
    assert answer["change"]["id"] == second.change_id
    assert (answer["change"]["command"], answer["change"]["actor"]) == (
        "record.add",
        "operator:ada",
    )
    answer, _ = await zone_line(model, "a.shop.test.")
    assert answer["change"]["id"] == first.change_id
    box = await master(model)
    file = await place(model, box, master_file("shop.test"))
    soa = next(number for number, line in enumerate(lines, 1) if " SOA " in line)
    answer = await model.ask("pserver.why", name=box, file=file, line=soa)
    assert answer["change"]["id"] == second.change_id  # each change brings a serial
    answer = await model.ask("pserver.why", name=box, file=file, line=1)
    assert answer["change"]["command"] == "domain.add"
    error = await model.refused("pserver.why", name=box, file=file, line=500)
    assert error.id == "why.line.beyond"


@pytest_twisted.ensureDeferred
async def test_a_record_that_came_back_is_of_the_change_that_brought_it_back(
    model: Model,
) -> None:
    await model.shop()
    www = {"domain": "shop.test", "name": "a", "type": "A", "values": ("192.0.2.9",)}
    await model.run("record.add", **www)
    await model.run("record.delete", domain="shop.test", name="a")
    back = await model.run("record.add", **www)
    answer, _ = await zone_line(model, "a.shop.test.")
    assert answer["change"]["id"] == back.change_id


@pytest_twisted.ensureDeferred
async def test_a_line_of_an_accounts_sites_leads_to_its_own_site(model: Model) -> None:
    await model.shop()
    sites = {}
    for name in ("a.test", "b.test", "c.test"):
        await model.ask("domain.add", name=name, account="acme")
        sites[name] = await model.run("site.set", name=name, index=(f"{name}.html",))
    chain, key = pair("b.test")
    certified = await model.run("site.set", name="b.test", certificate=chain, key=key)
    ((account,),) = await model.rows("SELECT id FROM account")
    file = await place(model, "web1", f"accounts/{account}.conf")
    found: dict[str, dict[str, Any]] = {}
    for line in range(1, 200):
        try:
            answer = await model.ask("pserver.why", name="web1", file=file, line=line)
        except Exception:
            break
        words = answer["text"].strip()
        if words.startswith(("DirectoryIndex", "SSLCertificateFile")):
            found[words.split()[0] + " " + answer["key"]] = answer
            assert answer["key"] in words
    for name, change in sites.items():
        assert found[f"DirectoryIndex {name}"]["change"]["id"] == change.change_id
    assert found["SSLCertificateFile b.test"]["change"]["id"] == certified.change_id
    assert len(found) == 4
    assert found["DirectoryIndex a.test"]["others"] == ["site b.test", "site c.test"]


@pytest_twisted.ensureDeferred
async def test_a_file_with_a_secret_tells_its_object_and_no_line(model: Model) -> None:
    await model.shop()
    chain, key = pair("shop.test")
    done = await model.run("site.set", name="shop.test", certificate=chain, key=key)
    ((account,),) = await model.rows("SELECT id FROM account")
    vhosts = await place(model, "web1", f"accounts/{account}.conf")
    texts = []
    for line in range(1, 40):
        answer = await model.ask("pserver.why", name="web1", file=vhosts, line=line)
        texts.append(answer["text"])
        if "SSLCertificateFile" in answer["text"]:
            break
    path = texts[-1].split()[-1].strip('"')
    answer = await model.ask(
        "pserver.why", name="web1", file=await place(model, "web1", path), line=3
    )
    assert (answer["kind"], answer["key"], answer["text"]) == ("site", "shop.test", None)
    assert answer["change"]["id"] == done.change_id
    assert "holds a secret" in answer["words"]
    named = await place(model, "ns1", "named.conf")
    answer = await model.ask("pserver.why", name="ns1", file=named, line=3)
    assert (answer["kind"], answer["text"]) == ("server", None)
    assert answer["change"]["command"] == "ip.add"


@pytest.mark.parametrize(
    "file",
    [
        "/etc/passwd",
        "relative",
        "",
        "{lane}",
        "{lane}/",
        "{lane}/state/named.log",
        "{lane}/zones/00/shop.test.zone",
        "{lane}/zones/00/../../../../../../etc/shadow",
        "{lane}/other.conf",
        "{lane}/zones/zz/x",
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_the_product_does_not_write_is_said_to_be_so(model: Model, file: str) -> None:
    await model.shop()
    lane = await place(model, "ns1", "")
    asked = file.replace("{lane}", lane.rstrip("/"))
    error = await model.refused("pserver.why", name="ns1", file=asked, line=1)
    assert (error.id, error.status) == ("why.not-ours", 404)
    assert model.fleet.questions == []


@pytest_twisted.ensureDeferred
async def test_a_customers_own_page_is_not_ours(model: Model) -> None:
    shop = await model.shop()
    page = await place(model, "web1", f"sites/s{shop['id']}/htdocs/index.html")
    assert (await model.refused("pserver.why", name="web1", file=page)).id == "why.not-ours"


@pytest_twisted.ensureDeferred
async def test_a_link_of_a_name_leads_to_its_site(model: Model) -> None:
    await model.shop()
    for name in ("shop.test", "www.shop.test"):
        link = await place(model, "web1", f"vhosts/{name}")
        answer = await model.ask("pserver.why", name="web1", file=link)
        assert (answer["kind"], answer["key"]) == ("site", "shop.test")
    await model.ask("domain.add", name="www.shop.test", account="acme")
    answer = await model.ask("pserver.why", name="web1", file=link)
    assert answer["key"] == "www.shop.test"


@pytest_twisted.ensureDeferred
async def test_a_zone_with_a_shortened_file_name_is_found(model: Model) -> None:
    await model.shop()
    long = ".".join(["a" * 60] * 3 + ["test"])
    await model.ask("domain.add", name=long, account="acme")
    await model.ask(
        "domain.add", name=".".join(["a" * 60] * 2 + ["b" * 60, "test"]), account="acme"
    )
    for box in ("ns1", "ns2"):
        shown = await model.ask("domain.show", name=long)
        if {s["name"]: s["role"] for s in shown["name_servers"]}[f"{box}.example.net"] == "master":
            file = await place(model, box, master_file(long))
            assert (await model.ask("pserver.why", name=box, file=file))["key"] == long


@pytest_twisted.ensureDeferred
async def test_a_line_before_the_first_is_refused(model: Model) -> None:
    await model.shop()
    error = await model.refused("pserver.why", name="ns1", file="/x", line=-1)
    assert error.id == "why.line.invalid"
