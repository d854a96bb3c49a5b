"""Shared certificates as commands: one upload for all web servers, and what is never told."""

from pytest_twisted import ensureDeferred
from twisted.internet.defer import Deferred, DeferredList

from controller.storage.database import Transaction
from templates.apache.objects import Certificate
from tests.integration.key_pairs import pair as made_pair
from tests.integration.model import NOW, OPERATOR, Model

pytest_plugins = ("tests.integration.model",)

SHARED = "shared.test"


def certificate(name: str) -> Certificate:
    """Make one that is valid when the model's clock stands."""
    chain, key = made_pair(name, days=90)
    return Certificate(chain=chain, key=key)


PAIR = certificate(f"*.{SHARED}")


async def web(model: Model, name: str, number: int, tls_port: int = 443) -> None:
    await model.box(name, number, ("web",))
    await model.server(name, "web", "apache")
    if tls_port:
        await model.ask("lserver.set", name=f"{name}.example.net", settings={"tls_port": tls_port})
    await model.ask(
        "ip.add", lserver=f"{name}.example.net", first=f"192.0.2.{number}", mask="24", type="shared"
    )


async def shares(model: Model, name: str) -> dict[str, str]:
    """Give the keys that a web server is sent, in clear, by domain."""
    spec = (await model.objects(f"{name}.example.net"))["server", ""]

    async def clear(tx: Transaction) -> dict[str, str]:
        return {
            each["domain"]: await model.secrets.read(
                tx, int(each["certificate"]["key"].split(":")[1])
            )
            for each in spec.get("shared", ())
        }

    return await model.database.transaction(OPERATOR, clear, name="test")


async def upload(model: Model, pair: Certificate = PAIR, domain: str = SHARED) -> dict[str, object]:
    told: dict[str, object] = await model.ask(
        "ssl.upload", domain=domain, certificate=pair.chain, key=pair.key
    )
    return told


@ensureDeferred
async def test_r277_a_pair_is_uploaded_for_a_domain_and_replaced(model: Model) -> None:
    await web(model, "web1", 11)
    told = await upload(model)
    assert (told["domain"], told["names"], told["logical_servers"]) == (SHARED, ["*." + SHARED], 1)
    second = certificate(f"*.{SHARED}")
    await upload(model, second, "SHARED.test.")
    assert await shares(model, "web1") == {SHARED: second.key}
    (item,) = (await model.ask("ssl.list"))["items"]
    assert item == {
        name: value
        for name, value in (await model.ask("ssl.show", domain=SHARED)).items()
        if name in item
    }
    assert await model.rows("SELECT count(*) FROM secret WHERE name LIKE 'shared:%%'") == [(2,)]


@ensureDeferred
async def test_r278_one_upload_reaches_all_web_servers_and_one_that_comes_later(
    model: Model,
) -> None:
    await web(model, "web1", 11)
    await web(model, "web2", 12)
    await web(model, "plain", 13, tls_port=0)
    done = await model.run("ssl.upload", domain=SHARED, certificate=PAIR.chain, key=PAIR.key)
    assert done.result["warnings"] == ["plain.example.net has no TLS port (tls_port)"]
    state = await model.state(done.change_id)
    assert {lane.logical_server for lane in state.lanes} == {
        "web1.example.net",
        "web2.example.net",
    }
    await web(model, "web3", 14)
    for name in ("web1", "web2", "web3"):
        assert await shares(model, name) == {SHARED: PAIR.key}, name
    assert await shares(model, "plain") == {}
    await model.ask("lserver.set", name="plain.example.net", settings={"tls_port": 8443})
    assert await shares(model, "plain") == {SHARED: PAIR.key}
    # What makes the object anew for another reason keeps it.
    await model.ask("lserver.set", name="web1.example.net", settings={"timeout": 45})
    assert await shares(model, "web1") == {SHARED: PAIR.key}


@ensureDeferred
async def test_r278_the_same_pair_once_more_changes_nothing(model: Model) -> None:
    await web(model, "web1", 11)
    await upload(model)
    again = await model.run("ssl.upload", domain=SHARED, certificate=PAIR.chain, key=PAIR.key)
    assert again.change_id is None


@ensureDeferred
async def test_a_certificate_shared_no_more_leaves_servers_and_database(model: Model) -> None:
    await model.shop()
    await model.ask("lserver.set", name="web1.example.net", settings={"tls_port": 443})
    await upload(model)
    other = certificate("*.other.test")
    await upload(model, other, "other.test")
    for name in ("a.shared.test", "b.a.shared.test", "xshared.test"):
        await model.ask("domain.add", name=name, account="acme")
    assert (await model.ask("ssl.show", domain=SHARED))["sites"] == 1
    told = await model.ask("ssl.delete", domain=SHARED)
    assert told["warnings"] == ["one site below shared.test will present what nobody trusts"]
    assert await shares(model, "web1") == {"other.test": other.key}
    await model.ask("ssl.delete", domain="other.test")
    spec = (await model.objects("web1.example.net"))["server", ""]
    assert "shared" not in spec
    assert await model.rows("SELECT count(*) FROM secret WHERE name LIKE 'shared:%%'") == [(0,)]
    assert (await model.refused("ssl.delete", domain=SHARED)).id == "ssl.unknown"


@ensureDeferred
async def test_what_cannot_be_shared_is_refused_and_nothing_is_written(model: Model) -> None:
    await web(model, "web1", 11)
    other = certificate("*.other.test")
    for domain, pair, error_id, field in (
        (SHARED, other, "certificate.name", "certificate"),
        ("a.shared.test", PAIR, "certificate.name", "certificate"),
        (SHARED, Certificate(chain=PAIR.chain, key=other.key), "certificate.key.invalid", "key"),
        (SHARED, Certificate(chain="x", key="y"), "certificate.invalid", "certificate"),
        (SHARED, Certificate(chain=PAIR.chain, key=""), "certificate.key.invalid", "key"),
        ("test", PAIR, "ssl.domain.invalid", "domain"),
        ("*.shared.test", PAIR, "ssl.domain.invalid", "domain"),
        ("x.heliosphere.invalid", PAIR, "ssl.domain.invalid", "domain"),
        (".".join(["a" * 60] * 3), PAIR, "ssl.domain.invalid", "domain"),
        ("shared.test\nx", PAIR, "ssl.domain.invalid", "domain"),
    ):
        error = await model.refused(
            "ssl.upload", domain=domain, certificate=pair.chain, key=pair.key
        )
        assert (error.id, error.field) == (error_id, field), domain
        assert "PRIVATE KEY" not in f"{error}{error.value}{error.allowed}"


@ensureDeferred
async def test_there_is_a_bound_to_what_every_server_is_sent(model: Model) -> None:
    for number in range(20):
        await model.write(
            """INSERT INTO shared_certificate (domain, names, fingerprint, not_after)
               VALUES (%s, '{}', '', now())""",
            (f"d{number}.test",),
        )
    error = await model.refused("ssl.upload", domain=SHARED, certificate=PAIR.chain, key=PAIR.key)
    assert error.id == "ssl.too-many"
    listed = await model.ask("ssl.list", limit=3)
    assert [item["domain"] for item in listed["items"]] == ["d0.test", "d1.test", "d10.test"]
    assert (await model.ask("ssl.list", cursor=listed["next"]))["items"][0]["domain"] == "d11.test"


@ensureDeferred
async def test_s14_the_key_is_in_no_answer_no_change_and_no_table_in_clear(model: Model) -> None:
    await web(model, "web1", 11)
    marks = [PAIR.key.splitlines()[line] for line in (1, 2)]
    done = await model.run("ssl.upload", domain=SHARED, certificate=PAIR.chain, key=PAIR.key)
    told = [
        repr(done),
        repr(await model.ask("ssl.list")),
        repr(await model.ask("ssl.show", domain=SHARED)),
        repr(await model.ask("change.show", id=done.change_id)),
        repr(await model.ask("object.history", lserver="web1.example.net", kind="server", key="")),
    ]
    tables = await model.rows(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        " AND table_type = 'BASE TABLE'"
    )
    assert len(tables) > 20
    for (table,) in tables:
        found = await model.rows(
            f"SELECT coalesce(string_agg(t::text, chr(10)), '') FROM \"{table}\" t"
        )
        told.append(str(found[0][0]))
    for mark in marks:
        for text in told:
            assert mark not in text
            assert mark.encode().hex() not in text


@ensureDeferred
async def test_a_dry_run_says_which_servers_reload_and_writes_nothing(model: Model) -> None:
    await web(model, "web1", 11)
    await web(model, "web2", 12)
    before = await model.footprint()
    done = await model.run(
        "ssl.upload", dry_run=True, domain=SHARED, certificate=PAIR.chain, key=PAIR.key
    )
    assert await model.footprint() == before
    assert done.plan.words[0] == "touches web1.example.net, web2.example.net"
    assert done.plan.words[-1].endswith("reload")


@ensureDeferred
async def test_r278_an_upload_and_a_server_that_comes_meanwhile_end_with_the_pair(
    model: Model,
) -> None:
    for number in range(3):
        name = f"w{number}"
        await web(model, name, 20 + number, tls_port=0)
        pair = certificate(f"*.{SHARED}")
        ended = await DeferredList(
            [
                Deferred.fromCoroutine(upload(model, pair)),
                Deferred.fromCoroutine(
                    model.ask("lserver.set", name=f"{name}.example.net", settings={"tls_port": 443})
                ),
            ],
            consumeErrors=True,
        )
        assert [good for good, _ in ended] == [True, True], ended
        assert await shares(model, name) == {SHARED: pair.key}


@ensureDeferred
async def test_the_end_of_a_certificate_is_told_of(model: Model) -> None:
    await web(model, "web1", 11)
    told = await upload(model)
    assert told["warnings"] == []
    await model.write(
        "UPDATE shared_certificate SET not_after = to_timestamp(%s)", (NOW + 86400 * 9 + 60,)
    )
    shown = await model.ask("ssl.show", domain=SHARED)
    assert shown["warnings"] == [f"the certificate for *.{SHARED} ends in 9 days"]
    await model.write("UPDATE shared_certificate SET not_after = to_timestamp(%s)", (NOW - 60,))
    shown = await model.ask("ssl.show", domain=SHARED)
    assert shown["warnings"] == [f"the certificate for *.{SHARED} has expired"]
