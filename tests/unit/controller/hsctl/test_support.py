"""That a support bundle tells what is needed and no secret."""

import json
import stat
import tarfile
from pathlib import Path
from typing import Any

import pytest
from pytest_twisted import ensureDeferred

from controller.hsctl.support import scrubbed
from controller.refusal import CommandError
from tests.unit.controller.hsctl.conftest import Cli
from tests.web_site import TOKEN, Asked, Told

PLANTED = [
    TOKEN,
    "hs1.4bcbdef6-4831-475d-a039-bf498d5ea6c2.AdZGDAeLke_JPgvQtoEe9.b950e4e1",
    "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----",
    "-----BEGIN EC PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49",
    "postgresql://hs:hunter2@db/heliosphere",
    "password = 'hunter2'",
    'password = "not one word: hunter2"',
    '"password": "a quote \\" and hunter2"',
    'secret "hunter2hunter2=="; # named.conf',
    "?user=a&password=hunter2&b=c",
    "$argon2id$v=19$m=65536,t=3,p=4$hunter2$hunter2",
    "MIGHAgEAMBMGByqGSM49\nMIGHAgEA\n-----END PRIVATE KEY-----",
    "bare, in a daemon's words: hunter2KDAeLkeJPgvQtoEe9AdZGDAeLkeJPgvQtoEe9=",
    "a drawn one, 2cca5-3ukeh-hm4ch-w5sfu, as printed",
    '"secret": "hunter2"',
    "Authorization: Bearer hunter2",
]


@pytest.mark.parametrize("text", PLANTED)
def test_a_planted_secret_is_removed(text: str) -> None:
    shown = scrubbed(f"before {text}\nthe end")
    assert "hunter2" not in shown
    assert "MIGH" not in shown
    assert TOKEN not in shown
    assert "AdZGDAeLke" not in shown
    assert "3ukeh" not in shown
    assert shown.startswith("before ")
    assert shown.endswith("\nthe end")


def test_what_only_looks_long_stays() -> None:
    text = "0f2ea66addfbf72ff4540ac671c374727196ac5b58cbda7ffe26b5460f4e9394 at /tmp/a/controller"
    assert scrubbed(text) == text


def test_json_stays_json() -> None:
    shown = scrubbed(json.dumps({"a": {"secret": "hunter2, and more", "name": "x"}, "token": None}))
    assert json.loads(shown) == {"a": {"secret": "(removed)", "name": "x"}, "token": "(removed)"}


def parts(bundle: Path) -> dict[str, str]:
    """Give the files of a bundle, each of which it holds once."""
    with tarfile.open(bundle) as archive:
        assert len(archive.getnames()) == len(set(archive.getnames()))
        texts = {}
        for name in archive.getnames():
            part = archive.extractfile(name)
            assert part is not None
            texts[name.removeprefix("heliosphere-report/")] = part.read().decode()
        return texts


@ensureDeferred
async def test_a_bundle_holds_state_and_logs_without_secrets(cli: Cli, tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "agent.log").write_text("\n".join(PLANTED) + "\nthe last line\n")
    config = tmp_path / "controller.toml"
    config.write_text(
        'state = "s"\nlog = "logs/controller.log"\n'
        'database = "postgresql://hs:hunter2@db/heliosphere"\n'
    )
    config.chmod(0o600)
    noted = {"name": "ns1.test", "lanes": [], "note": PLANTED[5]}
    cli.runner.answer = lambda asked: Told({"items": [noted], "next": None})
    target = tmp_path / "report.tar.gz"
    arguments = ("support", "bundle", str(target), "--config", str(config), "--logs", str(logs))
    ended = await cli.run(*arguments)
    assert ended.code == 0, ended.err
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    texts = parts(target)
    assert set(texts) >= {"status.json", "faults.json", "controller.toml", "logs/logs-agent.log"}
    assert "the last line" in texts["logs/logs-agent.log"]
    whole = "".join(texts.values())
    for secret in ("hunter2", "MIGH", TOKEN, "AdZGDAeLke"):
        assert secret not in whole
    assert (await cli.run(*arguments)).code == 1  # never written over


@ensureDeferred
async def test_a_bundle_holds_what_daemons_logged_those_in_trouble_first(
    cli: Cli, tmp_path: Path
) -> None:
    def lane(box: str, condition: str = "ok", faults: int = 0, connected: bool = True) -> Any:
        return {"pserver": box, "condition": condition, "faults": faults, "connected": connected}

    servers = [{"name": f"s{n:02}.test", "lanes": [lane(f"b{n:02}")]} for n in range(30)]
    servers += [
        {"name": "down.test", "lanes": [lane("x1", "daemon-down")]},
        {"name": "faulty.test", "lanes": [lane("x2", faults=1), lane("x3", connected=False)]},
    ]

    def answer(asked: Asked) -> Any:
        if asked.name == "lserver.list":
            return Told({"items": servers, "next": None})
        if asked.name != "pserver.log":
            return Told({"items": [], "next": None})
        if asked.request.name == "x2":
            return CommandError("pserver.silent", "the box did not answer", status=503)
        return Told({"lines": ["one", f"of {asked.request.service}: {PLANTED[4]}"]})

    cli.runner.answer = answer
    ended = await cli.run("support", "bundle", str(tmp_path / "report.tar.gz"))
    assert ended.code == 0, ended.err
    daemons = {
        name.removeprefix("daemons/"): text
        for name, text in parts(tmp_path / "report.tar.gz").items()
        if name.startswith("daemons/")
    }
    assert daemons.pop("x1-down.test.log").startswith("one\nof down.test: postgresql://(removed)@")
    assert daemons.pop("x2-faulty.test.log").startswith("not to be had: the box did not answer")
    assert sorted(daemons) == [f"b{n:02}-s{n:02}.test.log" for n in range(18)]
