"""The controller as its own process: set up, run, asked by hsctl, killed, ended."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.storage.embedded import EmbeddedPostgres
from tests.controller_host import Host, controller_host

SERVER = "ns1.heliosphere.test"


@pytest.fixture
def host(postgres: EmbeddedPostgres) -> Iterator[Host]:
    with controller_host(postgres) as here:
        yield here


def test_a_controller_is_set_up_serves_is_killed_goes_on_and_ends(host: Host) -> None:
    first = host.host("init")
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("operator admin, password ")
    again = host.host("init")
    assert (again.returncode, again.stdout) == (0, "")
    for private in ("pki/ca-key.pem", "pki/controller-key.pem", "secrets.key"):
        assert (host.directory / "state" / private).stat().st_mode & 0o077 == 0

    host.start()
    unknown = host.host("admin", "token", "nobody")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    token = host.host("admin", "token", "admin").stdout
    ca = str(host.directory / "state" / "pki" / "ca.pem")
    url = f"https://localhost:{host.port}"
    signed_in = host.hsctl("login", url, "--ca", ca, "--token", "-", stdin=token)
    assert signed_in.returncode == 0, signed_in.stderr
    assert host.hsctl("account", "add", "acme").returncode == 0

    host.end(signal.SIGKILL)
    assert host.hsctl("account", "list").returncode == 5
    host.start()
    listed = host.hsctl("account", "list", "-o", "json")
    assert [account["name"] for account in json.loads(listed.stdout)] == ["acme"]
    refused = host.hsctl("record", "add", "shop.test", "bad name", "A", "nonsense")
    assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 2)

    log = (host.directory / "logs" / "controller.log").read_text()
    assert "change 1: account.add by operator:admin" in log
    assert token.strip() not in log
    assert host.end(signal.SIGTERM) == 0


def with_name_server(host: Host) -> None:
    """Start a controller, sign in, and add a name server on a box whose agent never comes."""
    assert host.host("init").returncode == 0
    host.start()
    token = host.host("admin", "token", "admin").stdout
    url, ca = f"https://localhost:{host.port}", str(host.directory / "state" / "pki" / "ca.pem")
    assert host.hsctl("login", url, "--ca", ca, "--token", "-", stdin=token).returncode == 0
    box = ("pserver", "add", "ns1", "--ip", "192.0.2.1", "--mask", "24", "--group", "dns")
    assert host.hsctl(*box).returncode == 0
    server = ("lserver", "add", SERVER, "--group", "dns", "--type", "bind", "--pserver", "ns1")
    assert host.hsctl(*server).returncode == 0
    address = (
        "ip",
        "add",
        SERVER,
        "--from",
        "192.0.2.1",
        "--mask",
        "24",
        "--type",
        "service",
        "--no-wait",
    )
    added = host.hsctl(*address)
    assert added.returncode == 0, added.stderr


def test_the_key_of_secrets_is_changed_while_the_controller_works(host: Host) -> None:
    with_name_server(host)
    key = host.directory / "state" / "secrets.key"
    before = set(json.loads(key.read_bytes())["keys"])
    rotated = host.host("secrets", "rotate")
    assert rotated.returncode == 0, rotated.stderr
    assert rotated.stdout.startswith("sealed with a new key: 1\n")
    both = set(json.loads(key.read_bytes())["keys"])
    assert both > before
    forgotten = host.host("secrets", "forget")
    assert (forgotten.returncode, forgotten.stdout) == (0, "1 former key forgotten\n")
    assert set(json.loads(key.read_bytes())["keys"]) == both - before
    assert key.stat().st_mode & 0o077 == 0
    assert host.end(signal.SIGTERM) == 0


def test_what_is_held_is_approved_by_another_run_of_the_controller(host: Host) -> None:
    with_name_server(host)

    looked = host.hsctl("ip", "delete", "192.0.2.1", "--dry-run")
    assert looked.returncode == 0
    assert "(last-name-server=1)" in looked.stdout
    assert json.loads(host.hsctl("change", "held", "-o", "json").stdout) == []
    held = host.hsctl("ip", "delete", "192.0.2.1", "--yes", "--reason", "renumbered")
    assert held.returncode == 1
    line = "hsctl change approve 1 --accept last-name-server=1"
    said = next(each for each in held.stderr.splitlines() if f"allowed: {line} " in each)
    line = said.partition("allowed: ")[2].removesuffix(" [change.held]")
    assert " --shown " in line

    host.end(signal.SIGKILL)
    host.start()
    (listed,) = json.loads(host.hsctl("change", "held", "-o", "json").stdout)
    assert (listed["asked_by"], listed["reason"]) == ("operator:admin", "renumbered")
    assert line in host.hsctl("change", "show-held", "1").stdout
    assert host.hsctl("change", "approve", "1").returncode == 1
    assert host.hsctl("change", "approve", "1", "--accept", "last-name-server").returncode == 2
    done = host.hsctl(*line.split()[1:], "--no-wait")
    assert done.returncode == 0, done.stderr
    assert json.loads(host.hsctl("ip", "list", "-o", "json").stdout) == []
    assert "approved by operator:admin" in host.hsctl("change", "withdraw", "1").stderr
    assert host.end(signal.SIGTERM) == 0


def test_login_without_a_ca_needs_the_right_fingerprint(host: Host) -> None:
    assert host.host("init").returncode == 0
    host.start()
    token = host.host("admin", "token", "admin").stdout
    url = f"https://localhost:{host.port}"
    assert host.hsctl("login", url, "--token", "-", stdin=token).returncode == 2
    wrong = host.hsctl("login", url, "--ca-fingerprint", "00" * 32, "--token", "-", stdin=token)
    assert wrong.returncode == 5
    shown = wrong.stderr.strip().rpartition(" ")[2]
    right = host.hsctl("login", url, "--ca-fingerprint", shown, "--token", "-", stdin=token)
    assert right.returncode == 0, right.stderr
    assert host.hsctl("status").returncode == 0
    assert host.end(signal.SIGTERM) == 0


def test_a_reset_password_is_printed_once_and_an_unknown_operator_is_said_so(host: Host) -> None:
    assert host.host("init", "--operator", "ann").returncode == 0
    reset = host.host("admin", "reset-password", "ann")
    assert reset.returncode == 0
    assert len(reset.stdout.strip()) >= 20
    unknown = host.host("admin", "reset-password", "bob")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "no such operator" in unknown.stderr
    assert host.host("admin", "enable", "ann").returncode == 0
    assert "no such operator" in host.host("admin", "enable", "bob").stderr
    weak = host.host("admin", "reset-password", "ann", "--password-stdin", stdin="short\n")
    assert weak.returncode == 1


def test_a_configuration_that_makes_no_sense_is_told_in_one_line(tmp_path: Path) -> None:
    here = Host(tmp_path, 0)
    (tmp_path / "controller.toml").write_text('stat = "x"\n')
    for verb in ("init", "run"):
        ended = here.host(verb)
        assert ended.returncode == 1
        assert len(ended.stderr.splitlines()) == 1
        assert "stat" in ended.stderr
