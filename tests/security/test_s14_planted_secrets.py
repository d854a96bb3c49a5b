"""S14, S23: secrets are planted in a real cluster, and searched for wherever anybody might look.

Each goes in by the door that people use; what the product draws itself is searched for too. Where
one must stand is written down below; anywhere else it is a leak. What PostgreSQL keeps compressed
on the disk is seen in its dump.

Cases: Salt CVE-2020-17490 (key files that everybody may read), Froxlor CVE-2026-62988 (the API
returned secrets).
"""

import json
import os
import re
import shutil
import stat
import subprocess
import tarfile
from base64 import b64decode, b64encode, encodebytes, urlsafe_b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path
from secrets import token_urlsafe
from typing import Any
from urllib.parse import quote

import pytest

from controller.commands import Command
from controller.config import read_config
from controller.storage.binaries import find_binaries
from tests.certificates import certificate
from tests.faults.cluster_under_fault import Api, Broken
from tests.local_cluster import Cluster, eventually
from tests.process_watch import ProcessWatch
from tests.scratch import scratch
from tests.searching import Secret, search
from tests.security.planted_cluster import SERVICE_DOMAIN, SITE, Planted, drawn, plant
from tests.security.test_s14_secrets import found_in
from tests.unit.controller.hsctl.conftest import product_registry

pytestmark = pytest.mark.timeout(400)

LANE = "state/lservers/*"
PLACES = {
    "the site's key": {
        "c/boxes/web1/state/journal.sqlite",
        f"c/boxes/web1/{LANE}/tls/{SITE}.*.pem",
    },
    "the shared certificate's key": {
        "c/boxes/web1/state/journal.sqlite",
        f"c/boxes/web1/{LANE}/tls/shared_{SERVICE_DOMAIN}.*.pem",
    },
    "the web server's own key": {
        "c/boxes/web1/state/journal.sqlite",
        f"c/boxes/web1/{LANE}/tls/fallback.*.pem",
    },
    "the transfer key": {
        f"c/boxes/{box}/{place}"
        for box in ("ns1", "ns2")
        for place in ("state/journal.sqlite", f"{LANE}/named.conf")
    },
    "ns1's control key": {"c/boxes/ns1/state/journal.sqlite", f"c/boxes/ns1/{LANE}/named.conf"},
    "ns2's control key": {"c/boxes/ns2/state/journal.sqlite", f"c/boxes/ns2/{LANE}/named.conf"},
    "the key that seals": {"c/controller/secrets.key"},
    "the key of digests": {"c/controller/secrets.key"},
    "the CA's key": {"c/controller/pki/ca-key.pem"},
    "the controller's key": {"c/controller/pki/controller-key.pem"},
    "ns1's key": {"c/boxes/ns1/state/key.pem"},
    "ns2's key": {"c/boxes/ns2/state/key.pem"},
    "web1's key": {"c/boxes/web1/state/key.pem"},
    "the new box's key": {"late/key.pem"},
    "the first password": {"c/first-password"},
    "hsctl's token": {"hsctl.toml"},
}
"""The files that must hold a secret: a box goes on alone with what its agent's journal holds."""
NOWHERE = {
    "an operator's password",
    "a wrong password",
    "a password for SSH",
    "an operator's token",
    "an enrolment token",
    "a session's cookie",
    "the key of a refused change",
    "the key of a garbled change",
    "the key of a dry run",
}
"""Those that no file must hold."""
IN_A_BACKUP = {
    "the key that seals": {"secrets.key"},
    "the key of digests": {"secrets.key"},
    "the CA's key": {"pki/ca-key.pem"},
    "the controller's key": {"pki/controller-key.pem"},
}
"""It is the whole cluster, and says so: its file is for its owner alone."""
NONE_HERE = {"dns.progress", "ip.progress", "rollout.show", "change.show-held"}
"""Reads of what this cluster has none of: moves, rollouts, what is held back."""


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Planted]:
    home = scratch("hs-planted-")
    home.chmod(0o755)
    cluster = Cluster(home / "c", home)
    watch = ProcessWatch(home)
    try:
        with watch.watching():
            up = cluster.local("up", "--detach")
            assert up.code == 0, up
            made = Planted(Broken(cluster, Api(home)), watch, tmp_path_factory.mktemp("typed"))
            plant(made)
            drawn(made)
            bundle, backup = home / "report.tar.gz", home / "one.hsb"
            made.hsctl("bundle", "support", "bundle", str(bundle))
            made.hsctl("backup", "backup", "create", str(backup))
            for file in (bundle, backup):
                assert stat.S_IMODE(file.stat().st_mode) == 0o600
                shutil.move(file, made.typed / file.name)
        yield made
    finally:
        cluster.local("reset", "--yes")
        shutil.rmtree(home, ignore_errors=True)


def test_the_search_finds_a_key_however_it_is_spelled() -> None:
    made, other = certificate(SITE), certificate(SITE)
    text = made.key.encode()
    der = b64decode("".join(made.key.splitlines()[1:-1]))
    texts = {
        "PEM": text,
        "PEM in JSON": json.dumps({"key": made.key}).encode(),
        "PEM in a dump": text.replace(b"\n", rb"\n"),
        "PEM in a dump, as bytes": rb"\x" + text.hex().encode(),
        "PEM in base64": b64encode(text),
        "PEM in base64, in lines, after something": encodebytes(b"x" + text),
        "DER": der,
        "DER in hex": der.hex().upper().encode(),
        "DER in lines of hex": der.hex(" ", 8).replace(" ", "\n").encode(),
        "DER in base64 for URLs, after something": urlsafe_b64encode(b"xy" + der),
        "a part of a line": text.splitlines()[2][:20],
    }
    secret = Secret.private_key("key", made.key)
    assert search([secret], texts) == {"key": set(texts)}
    others = {"its certificate": made.chain.encode(), "another key": other.key.encode()}
    assert search([secret], others) == {"key": set()}


def test_the_search_finds_each_secret_where_it_was_given(planted: Planted) -> None:
    assert set(planted.secrets) == {*PLACES, *NOWHERE}
    found = planted.leaks(planted.given)
    assert found == {name: {name} for name in planted.given}
    assert set(found) >= NOWHERE


def place_of(home: Path, path: Path) -> str:
    """Name a file as the table does: without what is drawn anew for each cluster."""
    text = re.sub(r"lservers/[0-9a-f-]{36}/", "lservers/*/", str(path.relative_to(home)))
    return re.sub(r"\.[0-9a-f]{32}\.pem$", ".*.pem", text.removesuffix("-wal"))


def files(planted: Planted) -> dict[Path, bytes]:
    """Read every file below the cluster's directory, of its database and its logs too."""
    found = {}
    for folder, _, names in os.walk(planted.cluster.home):
        for path in (Path(folder) / name for name in names):
            try:
                if stat.S_ISREG(path.lstat().st_mode) and (content := path.read_bytes()):
                    found[path] = content
            except FileNotFoundError:  # PostgreSQL's and SQLite's come and go
                continue
    return found


def test_secrets_stand_in_the_files_that_need_them_and_these_are_closed(planted: Planted) -> None:
    texts = files(planted)
    names = {str(path) for path in texts}
    logs = planted.cluster.folder / "logs"
    assert {
        str(logs / f"{name}.log") for name in ("controller", "agent-ns1", "agent-web1")
    } <= names
    assert any("/pg_wal/" in name for name in names)
    found = planted.leaks({str(path): content for path, content in texts.items()})
    places = {
        name: {place_of(planted.cluster.home, Path(path)) for path in paths}
        for name, paths in found.items()
    }
    assert places == PLACES
    for path in {Path(path) for paths in found.values() for path in paths}:
        about = path.stat()
        expected = 0o600, os.geteuid()
        if path.name == "named.conf":  # which named reads as its own user
            daemon = planted.broken.daemon(path.relative_to(planted.cluster.folder).parts[1])
            assert daemon is not None
            expected = 0o640, daemon.uids().effective
        assert (stat.S_IMODE(about.st_mode), about.st_uid) == expected, path


def test_the_database_in_clear_text_holds_none(planted: Planted) -> None:
    config = read_config(planted.cluster.folder / "controller" / "controller.toml")
    dumped = subprocess.run(
        [
            *(find_binaries().program("pg_dump"), "--format=plain", "--enable-row-security"),
            f"--dbname={config.database}",
        ],
        capture_output=True,
        check=True,
        env={"PATH": os.defpath, "PGOPTIONS": "-c hs.principal=provider"},
    ).stdout
    assert planted.leaks({"dump": dumped}) == {}
    for known in (b"site.set", b"ssl.upload", b'"(secret)"', b"pserver.add", b"transfer-key"):
        assert known in dumped


def test_no_process_was_given_one_on_its_command_line_or_in_its_environment(
    planted: Planted,
) -> None:
    watch, canary = planted.watch, token_urlsafe(24)
    with watch.watching():
        words = ("cat", "-", canary, str(planted.cluster.home))
        quiet = subprocess.DEVNULL
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet):
            mark = canary.encode()
            assert eventually(lambda: any(mark in text for text in list(watch.seen)))
    read = b"\n".join(watch.seen)
    for known in (b"named ", b"apache2 ", b"postgres", b"node_agent.main enrol", b"site set"):
        assert known in read, known
    assert planted.leaks({"processes": read}) == {}
    shown = [word for text in watch.seen for word in found_in(text.decode(errors="replace"))]
    assert [word for word in shown if "token" in word or "private key" in word] == []


def test_no_answer_of_the_api_or_of_hsctl_shows_one(planted: Planted) -> None:
    answers = dict(planted.answers)
    found, missed = set(), set()
    for command in product_registry():
        if command.writes:
            continue
        for path in paths_of(command, planted):
            answer = planted.broken.api.ask("GET", path)
            assert answer.status < 500, (path, answer)
            (found if answer.status == 200 else missed).add(command.name)
            answers[path] = json.dumps(answer.body).encode()
    assert missed - found == NONE_HERE
    answers["openapi.json"] = json.dumps(
        planted.broken.api.ask("GET", "/openapi.json").body
    ).encode()
    assert planted.leaks(answers) == {}
    assert b"(secret)" in b"".join(answers.values())
    assert b"its content is not shown" in answers["previewed"]


def paths_of(command: Command[Any], planted: Planted) -> Iterator[str]:
    """Give every path of a read, for all that there is of what it names."""
    paths = [""]
    for part in command.path.strip("/").split("/"):
        field = part.strip("{}")
        if field == part:
            paths = [f"{path}/{part}" for path in paths]
        else:
            paths = [
                f"{path}/{name}" for path in paths for name in names_below(planted, path, field)
            ]
    for path in paths:
        yield from (path + query for query in queries(command.name, path, planted))


def names_below(planted: Planted, path: str, field: str) -> Sequence[str]:
    """Name what a list holds, as the paths below it do; 1 where it holds nothing."""
    if field == "kind":
        return "zone", "site"
    answer = planted.broken.api.ask("GET", f"{path}?limit=500")
    body = answer.body if answer.status == 200 else {}
    listed = body.get("items", body.get("services", ()))
    found = [
        next(str(item[key]) for key in (field, "name", "id") if key in item) for item in listed
    ]
    return [quote(name, safe="") for name in found] or ["1"]


def queries(name: str, path: str, planted: Planted) -> Sequence[str]:
    """Give what a read is asked with: the files that hold secrets, line by line, above all."""
    if name == "placement.simulate":
        return ["?count=10"]
    if name == "object.history":
        return [f"?key={SITE}"]
    if name not in ("drift.show", "pserver.why"):
        return ["?limit=500"] if name.endswith((".list", "moves")) else [""]
    box = path.split("/")[2].partition(".")[0]
    if box == "late":
        return []
    root = planted.broken.lane_root(box)
    private = (*root.glob("named.conf"), *root.glob("tls/*"))
    if name == "drift.show":
        return [f"?path={quote(str(file.relative_to(root)))}" for file in private]
    return [f"?file={quote(str(file))}&line={line}" for file in private for line in range(1, 13)]


def test_a_support_bundle_holds_none(planted: Planted) -> None:
    members = members_of(planted.typed / "report.tar.gz")
    assert b"site.set" in members["heliosphere-report/changes.json"]
    assert planted.leaks(members) == {}


def test_a_backup_holds_the_keys_of_the_cluster_and_no_other(planted: Planted) -> None:
    members = members_of(planted.typed / "one.hsb")
    dump = planted.typed / "database.dump"
    dump.write_bytes(members["database.dump"])
    words = (find_binaries().program("pg_restore"), "--file=-", str(dump))
    members["database.dump"] = subprocess.run(words, capture_output=True, check=True).stdout
    assert b"site.set" in members["database.dump"]
    assert planted.leaks(members) == IN_A_BACKUP


def members_of(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as archive:
        return {
            name: content
            for name in archive.getnames()
            if (part := archive.extractfile(name)) is not None and (content := part.read())
        }
