"""That the verbs say what their commands want, and that none is missing."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from pytest_twisted import ensureDeferred

from controller.client import exit_codes
from controller.client.routes import ROUTES
from controller.cluster.boxes.boxes import AddBox
from controller.commands import Registry
from controller.hosting.record_commands import DeleteRecords, WriteRecords
from controller.hsctl.main import _VERBS, main
from controller.hsctl.verbs import verb_of
from tests.unit.controller.hsctl.conftest import Cli
from tests.web_site import Told


def all_verbs(group: click.Group = main, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        if not prefix and name == "local":
            continue  # stands in another part: needs no controller
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from all_verbs(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def test_hsctl_knows_every_command_of_the_registry_and_its_place(registry: Registry) -> None:
    assert {command.name: (command.method, command.path) for command in registry} == ROUTES


def test_every_command_of_the_registry_has_a_verb(registry: Registry) -> None:
    asked_for = {verb_of(command) for _, command in all_verbs()}
    assert {command.name for command in registry} <= asked_for


def test_every_verb_has_help_with_an_example() -> None:
    for name, command in all_verbs():
        assert f"hsctl {name.split()[0]}" in (command.help or ""), name


def test_the_root_help_names_every_verb() -> None:
    assert set(_VERBS) >= {"pserver", "lserver", "ip", "account", "domain", "record", "change"}
    assert set(_VERBS) >= {"fault", "status", "backup", "support", "login", "local"}


def test_every_write_takes_the_options_that_writes_take(registry: Registry) -> None:
    writes = {command.name for command in registry if command.writes}
    for name, command in all_verbs():
        options = {option for parameter in command.params for option in parameter.opts}
        if verb_of(command) in writes:
            assert {"--dry-run", "--diff", "--wait", "--timeout", "--reason", "-o"} <= options, name
        elif verb_of(command) or name.endswith(" watch"):
            assert "-o" in options, name
        if re.search(r"delete$", name):
            assert "--yes" in options, name


@ensureDeferred
async def test_a_record_is_asked_for_as_it_was_typed(cli: Cli) -> None:
    cli.answers({"domain": "shop.test", "records": []})
    await cli.run("record", "add", "shop.test", "www", "A", "192.0.2.1", "192.0.2.2", "--ttl", "60")
    await cli.run("record", "set", "shop.test", "@", "MX", "10", "mail")
    await cli.run("record", "delete", "shop.test", "www", "--yes")
    assert [asked.request for asked in cli.written] == [
        WriteRecords("shop.test", "www", "A", ("192.0.2.1", "192.0.2.2"), 60),
        WriteRecords("shop.test", "@", "MX", ("10 mail",)),
        DeleteRecords("shop.test", "www"),
    ]


@ensureDeferred
async def test_a_box_is_asked_for_as_it_was_typed_and_reasons_go_along(cli: Cli) -> None:
    cli.answers({"name": "ns9"})
    add = ("pserver", "add", "ns9", "--ip", "192.0.2.9", "--mask", "24", "--groups", "dns,web")
    ended = await cli.run(*add, "--reason", "größer", "--idempotency-key", "k")
    assert ended.code == 0
    (asked,) = cli.written
    assert asked.request == AddBox("ns9", "192.0.2.9", "24", ("dns", "web"))
    assert (asked.reason, asked.idempotency_key) == ("größer", "k")


@ensureDeferred
async def test_a_dry_run_asks_nothing_shows_the_plan_and_waits_for_nothing(cli: Cli) -> None:
    cli.answers({"name": "acme"})
    ended = await cli.run("account", "delete", "acme", "--dry-run", "-o", "json")
    assert ended.code == 0
    assert json.loads(ended.out) == {
        "change": None,
        "result": {"name": "acme"},
        "plan": {"rows": []},
        "since": None,
    }
    assert [(asked.name, asked.dry_run) for asked in cli.runner.asked] == [("account.delete", True)]


@ensureDeferred
async def test_a_dry_run_tells_no_number_of_a_job_that_is_not_begun(cli: Cli) -> None:
    begun = [{"action": "add", "relation": "zone_move", "key": "1"}]
    cli.runner.answer = lambda asked: Told({"zones": 3, "move": 1}, None, {"rows": begun})
    ended = await cli.run("dns", "apply", "--dry-run")
    assert "zones" in ended.out
    assert "zone move" in ended.out
    assert "1" not in ended.out


@ensureDeferred
async def test_what_was_so_already_is_not_told_as_changed(cli: Cli) -> None:
    cli.runner.answer = lambda asked: Told({"name": "ns1"}, None)
    ended = await cli.run("pserver", "monitoring", "ns1", "off")
    assert ended.code == 0
    assert "nothing changed: it is so already" in ended.err
    assert "switched" not in ended.err


@ensureDeferred
async def test_a_retry_tells_which_boxes_heard_it(cli: Cli) -> None:
    heard = {"logical_server": "ns1.example.net", "connected_boxes": 2, "boxes_away": ["ns9"]}
    cli.runner.answer = lambda asked: Told(heard, None)
    ended = await cli.run("fault", "retry", "ns1.example.net")
    assert "told to try again: 2; not connected: ns9" in ended.err


@ensureDeferred
async def test_tokens_are_listed_with_the_number_that_revokes_them(cli: Cli) -> None:
    token = {"id": 7, "operator": "ada", "label": "laptop"}
    cli.answers({"items": [token], "next": None})
    listed = (await cli.run("token", "list")).out.splitlines()
    assert [line.split()[0] for line in listed] == ["id", "7"]


@ensureDeferred
async def test_a_name_with_slashes_and_control_characters_stays_one_path_segment(cli: Cli) -> None:
    ended = await cli.run("account", "show", "../status?x=1")
    assert ended.code == 1
    assert cli.runner.asked == []
    await cli.run("account", "show", "a?b#c\x1b")
    assert cli.runner.asked[0].request.name == "a?b#c\x1b"


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("account", "add", "caf\udce9"), "name"),
        (("account", "show", "caf\udce9"), "name"),
        (("domain", "list", "--filter", "\udce9"), "filter"),
        (("record", "set", "a.test", "www", "TXT", "caf\udce9"), "values"),
        (("account", "add", "acme", "--reason", "\udce9"), "reason"),
        (("account", "add", "acme", "--idempotency-key", "\udce9"), "idempotency key"),
        (("local", "status", "--dir", "caf\udce9"), "the name of the state directory"),
    ],
)
@ensureDeferred
async def test_words_that_are_not_utf_8_are_an_error_of_usage_in_one_line(
    cli: Cli, words: tuple[str, ...], what: str
) -> None:
    ended = await cli.run(*words)
    assert ended.code == exit_codes.USAGE
    assert ended.err.splitlines()[-1] == f"hsctl: {what} is not UTF-8"
    assert cli.runner.asked == []


@ensureDeferred
async def test_a_list_follows_its_pages_and_is_plain_when_piped(cli: Cli) -> None:
    pages = {
        "": {"items": [{"name": "a\x1b[31m", "domains": 1, "created_at": None}], "next": "c1"},
        "c1": {"items": [{"name": "b", "domains": 2, "created_at": "t"}], "next": None},
    }
    cli.runner.answer = lambda asked: Told(pages[asked.request.cursor])
    ended = await cli.run("account", "list")
    assert ended.out == "name\tdomains\tcreated_at\na\\x1b[31m\t1\t-\nb\t2\tt\n"
    ended = await cli.run("account", "list", "-o", "json", "--limit", "1")
    assert [item["domains"] for item in json.loads(ended.out)] == [1]
    assert "\x1b" not in ended.out


@ensureDeferred
async def test_an_export_is_the_file_itself(cli: Cli) -> None:
    cli.runner.answer = lambda asked: Told({"name": "shop.test", "text": "$TTL 60\n", "serial": 1})
    assert (await cli.run("domain", "export", "shop.test")).out == "$TTL 60\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@ensureDeferred
async def test_completion_prints_a_script(cli: Cli, shell: str) -> None:
    ended = await cli.run("completion", shell)
    assert ended.code == 0
    assert "_HSCTL_COMPLETE" in ended.out


def test_help_imports_nothing_slow() -> None:
    program = (
        "import sys; from controller.hsctl.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "slow = {'twisted', 'rich', 'attrs', 'msgspec', 'ssl', 'cryptography', 'psycopg2'}\n"
        "sys.exit(str(slow & set(sys.modules)) if slow & set(sys.modules) else 0)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("domain", "import", "shop.test"),
        ("site", "set", "shop.test", "--certificate"),
        ("site", "set", "shop.test", "--key"),
        ("ssl", "upload", "shop.test", "--key", "/dev/null", "--certificate"),
    ],
)
@ensureDeferred
async def test_a_file_that_is_not_utf_8_is_refused_in_one_line(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    file = tmp_path / "latin-1"
    file.write_bytes("www A 192.0.2.1 ; Büro\n".encode("latin-1"))
    ended = await cli.run(*arguments, str(file))
    assert (ended.code, cli.runner.asked) == (1, [])
    (line,) = ended.err.splitlines()
    assert line.startswith(f"hsctl: refused: {file}: not text in UTF-8; allowed: ")
