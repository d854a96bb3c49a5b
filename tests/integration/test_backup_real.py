"""Backup, restore and the support bundle, tried on a real cluster from the outside."""

import json
import re
import shutil
import stat
import subprocess
import tarfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local_cluster import Cluster, ask, eventually, fetch, serial
from tests.scratch import scratch

pytestmark = pytest.mark.timeout(400)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    home = scratch("hs-backup-")
    home.chmod(0o755)
    made = Cluster(home / "one", home)
    try:
        up = made.local("up", "--detach")
        assert up.code == 0, up
        made.good("account", "add", "acme")
        made.good("domain", "add", "shop.test", "--account", "acme")
        yield made
    finally:
        made.local("reset", "--yes")
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def backup(cluster: Cluster) -> Path:
    """A backup, made while the cluster is up and found by its profile."""
    file = cluster.home / "one.hsb"
    ran = cluster.hsctl("--profile", "local-one", "backup", "create", str(file))
    assert ran.code == 0, ran
    assert str(cluster.folder / "controller" / "controller.toml") in ran.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    return file


def test_a_second_backup_does_not_replace_the_first(cluster: Cluster, backup: Path) -> None:
    before = backup.read_bytes()
    assert cluster.hsctl("backup", "create", str(backup)).code == 1
    assert backup.read_bytes() == before


def test_a_restore_is_refused_while_the_cluster_is_up(cluster: Cluster, backup: Path) -> None:
    ran = cluster.hsctl("backup", "restore", str(backup), "--yes")
    assert ran.code == 1
    assert "hsctl local down" in ran.err
    assert cluster.hsctl("domain", "show", "shop.test").code == 0


def test_a_backup_can_be_made_of_a_cluster_that_is_down(cluster: Cluster) -> None:
    assert cluster.local("down").code == 0
    try:
        cluster.good("backup", "create", str(cluster.home / "down.hsb"))
        assert cluster.processes() == {}
    finally:
        assert cluster.local("up", "--detach").code == 0


def _secrets_of(cluster: Cluster) -> dict[str, str]:
    """Find what must never leave the cluster: as it is on the disk."""
    profile = tomllib.loads((cluster.home / "hsctl.toml").read_text())["profiles"]["local-one"]
    found = {
        "password": (cluster.folder / "first-password").read_text().strip(),
        "token": profile["token"],
    }
    found |= {
        f"secrets key {name}": value
        for name, value in json.loads((cluster.folder / "controller/secrets.key").read_text())[
            "keys"
        ].items()
    }
    for path in cluster.folder.rglob("*key.pem"):
        found[str(path)] = path.read_text().splitlines()[1]
    for path in cluster.folder.rglob("named.conf"):
        for n, secret in enumerate(re.findall(r'secret "([^"]+)"', path.read_text())):
            found[f"{path} {n}"] = secret
    answer = json.loads(cluster.good("pserver", "enroll", "web1", "-o", "json"))
    found["enrolment"] = answer["result"]["token"].split(".")[2]
    return found


def test_a_support_bundle_tells_the_state_and_no_secret(cluster: Cluster) -> None:
    key, chain = cluster.home / "site.key", cluster.home / "site.pem"
    make = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30"
        f" -subj /CN=shop.test -addext subjectAltName=DNS:shop.test -keyout {key} -out {chain}"
    )
    subprocess.run(make.split(), check=True, capture_output=True)
    words = ("--certificate", str(chain), "--key", str(key), "--no-wait")
    cluster.good("site", "set", "shop.test", *words)
    planted = _secrets_of(cluster)
    planted["site's key"] = key.read_text().splitlines()[1]
    assert {"password", "token", "enrolment"} < set(planted)
    assert len([name for name in planted if "named.conf" in name]) == 4
    cluster.hsctl("account", "add", "talkative", "--reason", f"password={planted['password']}")
    with (cluster.folder / "logs" / "agent-web1.log").open("a") as log:
        # As daemons and careless people may write them: bare, and as the files have them.
        log.writelines(f"said {value}\n" for name, value in planted.items() if "pem" not in name)
        log.writelines(path.read_text() for path in cluster.folder.rglob("*key.pem"))
        invitation = json.loads(cluster.good("pserver", "enroll", "web1", "-o", "json"))["result"]
        planted["another enrolment"] = invitation["token"].split(".")[2]
        log.write(f"{invitation}\nthe last line\n")
    (cluster.folder / "logs" / "agent-web1.log.1").write_text("an older line\n")

    file = cluster.home / "report.tar.gz"
    cluster.good("support", "bundle", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with tarfile.open(file) as archive:
        texts = {
            name.removeprefix("heliosphere-report/"): part.read().decode()
            for name in archive.getnames()
            if (part := archive.extractfile(name)) is not None
        }
    assert set(texts) >= {
        "versions.txt",
        "status.json",
        "faults.json",
        "changes.json",
        "logical-servers.json",
        "controller.toml",
        "agents/ns1-status.json",
        "agents/web1-faults.json",
        "logs/logs-controller.log",
        "logs/logs-agent-web1.log",
        "logs/logs-agent-web1.log.1",
        "logs/logs-controller.out",
    }
    assert json.loads(texts["agents/ns1-status.json"])["running"] is True
    assert "the last line" in texts["logs/logs-agent-web1.log"]
    assert "domain.add" in texts["logs/logs-controller.log"]
    leaks = [
        (name, part) for name, value in planted.items() for part in texts if value in texts[part]
    ]
    assert leaks == []


def _conditions(cluster: Cluster) -> set[str]:
    status = json.loads(cluster.good("status", "-o", "json"))
    return {lane["condition"] for lane in status["lanes"]}


def test_a_restore_takes_nothing_away_from_any_box(cluster: Cluster, backup: Path) -> None:
    """It leaves the cluster ahead of its controller: no other test here waits for its boxes."""
    cluster.good("record", "add", "shop.test", "after", "A", "192.0.2.99")
    cluster.good("account", "add", "later")
    cluster.good("domain", "add", "later.test", "--account", "later")
    places = cluster.places()
    before = serial(places["ns1"], "shop.test")

    assert cluster.local("down").code == 0
    ran = cluster.hsctl("backup", "restore", str(backup), "--yes")
    assert ran.code == 0, ran
    assert cluster.processes() == {}
    assert cluster.local("up", "--detach").code == 0

    assert cluster.hsctl("domain", "show", "later.test").code == 1  # the controller forgot it
    assert eventually(lambda: _conditions(cluster) == {"ahead"})
    for name in ("ns1", "ns2"):
        assert ask(places[name], "after.shop.test", "A") == ["192.0.2.99"]
        assert serial(places[name], "shop.test") == before
        assert ask(places[name], "later.test", "SOA")
    assert fetch(places["web1"], "later.test")[0] == 200

    # A new change is kept, and not said to be live: nothing is sent to a box that is ahead.
    ran = cluster.hsctl("record", "add", "shop.test", "new", "A", "192.0.2.1", "--timeout", "5")
    assert ran.code == 3, ran
    assert " live" not in ran.err.replace("not known to be live", "")
    assert ask(places["ns1"], "new.shop.test", "A") == []
    assert ask(places["ns1"], "after.shop.test", "A") == ["192.0.2.99"]
