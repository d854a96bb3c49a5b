"""Settings of logical servers: what each takes, and what it does."""

import json
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from controller.cluster.servers.settings import check_references
from controller.refusal import CommandError
from controller.storage.database import Transaction
from templates.registry import KNOWN_TYPES
from templates.settings import settings_of
from tests.integration.logical_servers import one_of_each, set_one
from tests.integration.model import OPERATOR, Model
from tests.integration.repairs import repair


async def refused(model: Model, server: str, **settings: Any) -> tuple[str, str]:
    before = await model.rows("SELECT name, settings, version FROM logical_server ORDER BY name")
    error = await model.refused("lserver.set", name=f"{server}.example.net", settings=settings)
    after = await model.rows("SELECT name, settings, version FROM logical_server ORDER BY name")
    assert after == before
    return error.id, error.field


async def options(model: Model, server: str) -> dict[str, Any]:
    shown = await model.ask("lserver.show", name=f"{server}.example.net")
    return {each["name"]: each for each in shown["options"]}


GOOD: tuple[tuple[str, str, str, Any, Any], ...] = (
    ("r290", "apache", "miva", "mvc", "mvc"),
    ("r291", "apache", "home_root", "/srv/home", "/srv/home"),
    ("r292", "apache", "webshell", "webshell5", "webshell5"),
    ("r293", "apache", "prohibit_dedicated_ip", True, True),
    ("r294", "apache", "horde_db_server", "mysql.example.net", "mysql.example.net"),
    ("r296", "apache", "rsync_ips", "192.0.2.1, 2001:DB8::1", ["192.0.2.1", "2001:db8::1"]),
    ("r298", "iis", "ftp_server", "ftp", "ftp"),
    ("r299", "iis", "miva", "mv", "mv"),
    ("r300", "iis", "shared_pool_workers", "4", 4),
    ("r301", "iis", "dedicated_pool_workers", 8, 8),
    ("r302", "iis", "prohibit_dedicated_ip", "true", True),
    ("r305", "qmail", "role", "outgoing", "outgoing"),
    ("r306", "qmail", "spamassassin_db_server", "mysql.example.net", "mysql.example.net"),
    ("r307", "qmail", "horde_server", "Apache.Example.Net.", "apache.example.net"),
    ("r312", "mysql", "phpmyadmin_server", "apache.example.net", "apache.example.net"),
    ("r313", "mysql", "remote_access", "true", True),
    ("r314", "postgresql", "phppgadmin_server", "apache.example.net", "apache.example.net"),
    ("r315", "vps", "solution", "freevps", "freevps"),
    ("r362", "bind", "role", "slave2", "slave2"),
    ("r367", "bind", "used_by", "resellers", "resellers"),
    ("drift", "bind", "drift", "repair", "repair"),
    ("drift", "apache", "drift", "keep", "keep"),
)


BAD: tuple[tuple[str, str, str, Any], ...] = (
    ("r290", "apache", "miva", "5.0"),
    ("r291", "apache", "home_root", "../etc"),
    ("r291", "apache", "home_root", "/a/../b"),
    ("r291", "apache", "home_root", '/a"\nInclude x'),
    ("r292", "apache", "webshell", "webshell6"),
    ("r293", "apache", "prohibit_dedicated_ip", "maybe"),
    ("r296", "apache", "rsync_ips", "192.0.2.1, 300.1.1.1"),
    ("a12", "iis", "ftp_server", "iis and ftp"),
    ("r300", "iis", "shared_pool_workers", 0),
    ("r301", "iis", "dedicated_pool_workers", "many"),
    ("r305", "qmail", "role", "postman"),
    ("r313", "mysql", "remote_access", 7),
    ("r315", "vps", "solution", "xen"),
    ("r362", "bind", "role", "slave3"),
    ("r367", "bind", "used_by", "nobody"),
    ("r297", "vps", "no_such", "1"),
    ("drift", "bind", "drift", "ignore"),
)


def _rows_of(type_: str) -> str:
    """Name a type and the rows of its settings: each row is in the name of its test."""
    return "-".join(dict.fromkeys((type_, *(row for row, of, *_ in GOOD if of == type_))))


@pytest.mark.parametrize("type_", dict.fromkeys(type_ for _, type_, *_ in GOOD), ids=_rows_of)
@pytest_twisted.ensureDeferred
async def test_every_setting_takes_what_it_is_for_and_nothing_else(
    model: Model, type_: str
) -> None:
    await one_of_each(model)
    for row, of, name, given, stored in GOOD:
        if of != type_:
            continue
        default = (await options(model, type_))[name]["default"]
        answer = await set_one(model, type_, **{name: given})
        assert answer["settings"][name] == stored, row
        assert (await options(model, type_))[name]["value"] == stored, row
        again = await set_one(model, type_, **{name: ""})
        assert name not in again["settings"], row
        assert (await options(model, type_))[name]["value"] == default, row
    for row, of, name, given in BAD:
        if of == type_:
            told = await refused(model, type_, **{name: given})
            assert told == ("lserver.settings.invalid", f"settings.{name}"), row


def test_every_setting_of_a_row_is_tried() -> None:
    tried = {(type_, name) for _, type_, name, _, _ in GOOD}
    filer = {"file_server_type", "file_server", "file_path", "file_server_volume"}
    rows = {
        (known.name, name)
        for known in KNOWN_TYPES.values()
        for name, setting in settings_of(known.settings).items()
        if setting.section != "Server" and name not in filer
    }
    assert tried == rows


@pytest.mark.parametrize(
    ("type_", "name", "words"),
    [
        ("apache", "horde_db_server", "the default server"),
        ("qmail", "spamassassin_db_server", "the default server"),
        ("qmail", "horde_server", "the default server"),
        ("mysql", "phpmyadmin_server", "the default server"),
        ("postgresql", "phppgadmin_server", "the box of this server itself"),
    ],
)
def test_a5_local_is_the_default_and_says_what_it_means(type_: str, name: str, words: str) -> None:
    setting = settings_of(KNOWN_TYPES[type_].settings)[name]
    assert setting.default == "LOCAL"
    assert f"LOCAL: {words}" in setting.help


@pytest_twisted.ensureDeferred
async def test_r317_to_r321_a_file_server_is_for_a_balanced_server_alone(model: Model) -> None:
    await model.cluster()
    given = {
        "file_server_type": "UNIX",
        "file_server": "10.9.8.7:/vol/vol0",
        "file_path": "/vol/vol0/hsphere",
        "file_server_volume": "vol0",
    }
    for name, value in given.items():
        told = await refused(model, "web1", **{name: value})
        assert told == ("lserver.settings.not-balanced", f"settings.{name}")
        assert name not in await options(model, "web1")
    await model.box("web2", 9, ("web",))
    await model.write(
        """INSERT INTO lane (box_id, logical_server_id) SELECT b.id, s.id
           FROM box b, logical_server s WHERE b.name = 'web2' AND s.name = 'web1.example.net'"""
    )
    assert (await set_one(model, "web1", **given))["settings"] == given
    for name, value in (("file_server", "no colon"), ("file_path", "vol0")):
        told = await refused(model, "web1", **{name: value})
        assert told == ("lserver.settings.invalid", f"settings.{name}")


@pytest_twisted.ensureDeferred
async def test_a_setting_names_only_a_server_that_is_there_and_of_its_group(model: Model) -> None:
    await one_of_each(model)
    for named in ("nobody.example.net", "bind.example.net"):
        told = await refused(model, "mysql", phpmyadmin_server=named)
        assert told == ("lserver.settings.unknown-server", "settings.phpmyadmin_server")


@pytest_twisted.ensureDeferred
async def test_r286_a_server_that_a_setting_names_is_not_deleted(model: Model) -> None:
    await one_of_each(model)
    await set_one(model, "mysql", phpmyadmin_server="apache.example.net")
    shown = await model.ask("lserver.show", name="apache.example.net")
    assert shown["used_by"]["settings"] == [
        {"server": "mysql.example.net", "setting": "phpmyadmin_server"}
    ]
    error = await model.refused("lserver.delete", name="apache.example.net")
    assert (error.id, error.status) == ("lserver.in-use", 409)
    assert "mysql.example.net (phpmyadmin_server)" in error.message
    await set_one(model, "mysql", phpmyadmin_server="LOCAL")
    await model.ask("lserver.delete", name="apache.example.net")


@pytest_twisted.ensureDeferred
async def test_r286_a_server_cannot_go_while_a_setting_is_made_to_name_it(model: Model) -> None:
    await model.box("b1", 1, ("web",))
    await model.box("b2", 2, ("mysql",))
    await model.server("web", "web", "apache", "b1")
    await model.server("mysql", "mysql", "mysql", "b2")
    named, go_on = Deferred[None](), Deferred[None]()

    async def name_it(tx: Transaction) -> None:
        given = {"phpmyadmin_server": "web.example.net"}
        await check_references(tx, KNOWN_TYPES["mysql"], given)
        named.callback(None)
        await go_on
        await tx.run(
            "UPDATE logical_server SET settings = %s::jsonb WHERE name = 'mysql.example.net'",
            (json.dumps(given),),
        )

    async def delete() -> Any:
        return await model.run("lserver.delete", name="web.example.net")

    setting = Deferred.fromCoroutine(model.database.transaction(OPERATOR, name_it, name="test"))
    await named
    deletion = Deferred.fromCoroutine(delete())
    deletion.addErrback(lambda failure: failure.value)
    for _ in range(600):
        waiting = await model.rows("SELECT 1 FROM pg_locks WHERE NOT granted")
        if waiting or deletion.called:
            break
        await deferLater(reactor, 0.05)
    go_on.callback(None)
    await setting
    refused = await deletion
    assert isinstance(refused, CommandError)
    assert refused.id == "lserver.in-use"


@pytest_twisted.ensureDeferred
async def test_m5_settings_that_the_daemon_shows_reach_its_object_and_others_do_not(
    model: Model,
) -> None:
    await model.cluster()
    done = await model.run(
        "lserver.set",
        name="web1.example.net",
        settings={"miva": "mvc", "webshell": "webshell4", "timeout": 30},
    )
    assert done.change_id is not None
    spec = (await model.objects("web1.example.net"))["server", ""]
    assert spec["settings"] == {"miva": "mvc", "webshell": "webshell4", "timeout": 30}
    plan = (
        await model.run(
            "lserver.set",
            name="web1.example.net",
            settings={"prohibit_dedicated_ip": True},
            dry_run=True,
        )
    ).plan
    assert plan is not None
    assert (plan.objects, [row.key for row in plan.rows]) == ((), ["web1.example.net"])


@pytest_twisted.ensureDeferred
async def test_r296_hsctl_gives_settings_as_they_are_typed(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    await model.cluster()
    await model.box("web2", 9, ("web",))
    web1, web2 = "web1.example.net", "web2.example.net"
    given = "rsync_ips=192.0.2.1,2001:db8::1 timeout=30 prohibit_dedicated_ip=true home_root=/1"
    await repair(model, f"hsctl lserver set {web1} {given}", monkeypatch)
    add = f"hsctl lserver add {web2} --group web --type apache --pserver web2 --set timeout=30"
    await repair(model, add, monkeypatch)
    assert (await model.ask("lserver.show", name=web2))["settings"] == {"timeout": 30}
    assert (await model.ask("lserver.show", name=web1))["settings"] == {
        "rsync_ips": ["192.0.2.1", "2001:db8::1"],
        "timeout": 30,
        "prohibit_dedicated_ip": True,
        "home_root": "/1",
    }
    await repair(model, f"hsctl lserver set {web1} rsync_ips= timeout= home_root=", monkeypatch)
    shown = await model.ask("lserver.show", name=web1)
    assert shown["settings"] == {"prohibit_dedicated_ip": True}


@pytest_twisted.ensureDeferred
async def test_setting_what_is_set_already_changes_nothing(model: Model) -> None:
    await model.cluster()
    first = await model.run("lserver.set", name="web1.example.net", settings={"timeout": 30})
    again = await model.run("lserver.set", name="web1.example.net", settings={"timeout": 30})
    other = await model.ask("lserver.set", name="web1.example.net", settings={"tls_port": 8443})
    assert (first.change_id is not None, again.change_id) == (True, None)
    assert other["settings"] == {"timeout": 30, "tls_port": 8443}


@pytest_twisted.ensureDeferred
async def test_r354_a_tls_port_is_no_port_of_plain_http_nor_of_another_server(
    model: Model,
) -> None:
    await model.cluster()
    told = await refused(model, "web1", tls_port=80)
    assert told == ("lserver.tls-port.plain", "settings.tls_port")
    await model.server("web2", "web", "apache", "web1")
    await model.ask(
        "ip.add",
        lserver="web2.example.net",
        first="192.0.2.3",
        mask="24",
        type="shared",
        port=8443,
    )
    assert (await refused(model, "web1", tls_port=8443))[0] == "ip.endpoint.taken"
    done = await set_one(model, "web1", tls_port=443)
    assert done["settings"] == {"tls_port": 443}
    spec = (await model.objects("web1.example.net"))["server", ""]
    assert spec["settings"]["tls_port"] == 443
    assert spec["fallback"]["chain"].startswith("secret:")
    await set_one(model, "web1", tls_port=0)
    spec = (await model.objects("web1.example.net"))["server", ""]
    assert (spec["fallback"], spec["settings"]) == (None, {})


@pytest_twisted.ensureDeferred
async def test_a_control_port_of_another_server_on_the_box_cannot_be_set(model: Model) -> None:
    await model.box("b1", 1, ("dns",))
    await model.server("ns1", "dns", "bind", "b1")
    await model.server("ns2", "dns", "bind", "b1")
    assert await refused(model, "ns2", control_port=953) == (
        "lserver.control-port.taken",
        "settings.control_port",
    )
    assert (await set_one(model, "ns2", control_port=955))["settings"] == {"control_port": 955}
