"""S14: no secret is in the tree, each install draws its own, and others can read none of them.

Cases: CyberPanel CVE-2026-67614 (a JWT secret in the source), Salt CVE-2020-17490 (key files that
everybody may read).
"""

import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import attrs
import pytest

from controller import set_up
from controller.client.client import Client
from controller.client.errors import UnreachableError
from controller.client.profiles import Profile, load
from controller.config import ConfigError, ControllerConfig, read_config
from controller.identity import Identity
from controller.storage.secrets import Secrets
from node_agent.enrolment import CA_FILE, KEY_FILE
from node_agent.identity import Renewal, load_identity
from node_agent.journal import Journal
from pki.authority import Authority
from pki.keys import new_key, signing_request, write_private
from pki.names import Name
from tests.controller_host import TREE
from tests.unit.pki.forge import BOX, CLUSTER

# --- the tree ---

FOLDERS = ("controller", "node_agent", "pki", "templates", "packaging", "docs", "script", ".ci")
SECRETS = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+[A-Za-z0-9+/=]{16}"),
    "a token of ours": re.compile(r"\bhs_[A-Za-z0-9_-]{43}\b"),
    "an enrolment token": re.compile(r"\bhs1\.[0-9a-f-]{36}\.[A-Za-z0-9_-]{43}\.[0-9a-f]{64}"),
    "a password hash": re.compile(r"\$argon2id\$v=\d+\$[^$]+\$[^$]{8}"),
    "a cloud's key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\bghp_[A-Za-z0-9]{36}\b"),
    "a password in a URL": re.compile(r"://[^/\s:@\"'<{]+:[^/\s:@\"'<{.]{3,}@"),
    "a secret that is set": re.compile(
        r"""(?ix)^(?!\s*\#)[^\n]*?\b[\w.]*(?:password|passwd|secret|api_?key|private_?key|auth_?token)\w*
            ["']?\s*(?::\s*\w+\s*)?[=:]\s*["'](?![^"'\n]*[{%<\s])[^"'\n]{8,}["']""",
        re.MULTILINE,
    ),
    "a long random word": re.compile(
        r"""["'](?=[^"']*[0-9])(?=[^"']*[A-Z])[A-Za-z0-9+/_-]{40,}={0,2}["']"""
    ),
}
NO_SECRETS = {
    '"secrets.key"',  # the name of a file
    '"sha512-',  # digests of the panel's assets
    "Y29udHJvbCBrZXkgb2YgdGhlIGV4YW1wbGVz",  # "control key of the examples"
    "dHJhbnNmZXIga2V5IG9mIHRoZSBleGFtcGxlcy",  # "transfer key of the examples"
}
"""Pieces of lines that look like one and are none."""


def found_in(text: str) -> list[str]:
    """Give the kinds of secrets that a text holds."""
    return [
        f"{kind}: {match[0][:60]!r}"
        for kind, pattern in SECRETS.items()
        for match in pattern.finditer(text)
        if not any(piece in match[0] for piece in NO_SECRETS)
    ]


def files() -> Iterator[Path]:
    yield from (path for path in TREE.iterdir() if path.is_file())
    for folder in FOLDERS:
        for path in sorted((TREE / folder).rglob("*")):
            if path.is_file() and "vendor" not in path.parts and "__pycache__" not in path.parts:
                yield path


def test_no_secret_is_in_the_tree() -> None:
    looked = 0
    for path in files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        looked += 1
        assert found_in(text) == [], path
    assert looked > 300


@pytest.mark.parametrize(
    "text",
    [
        new_key().decode(),
        'TOKEN = "hs_' + "aB3_" * 10 + 'xyz"',
        'JWT_SECRET = "jwt_secret_2024"',
        'password="hunter2hunter2"',
        '    secret_key: str = "change-me-please"',
        '{"api_key": "0123456789abcdef"}',
        "database = postgresql://hs:Geheim1@db/hs",
        "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$aGFzaA",
        'KEY = "' + "aB3/" * 11 + '="',
        "AKIA" + "A1B2" * 4,
    ],
)
def test_the_scan_finds_a_secret(text: str) -> None:
    assert found_in(text)


# --- each install its own ---


@attrs.frozen
class Install:
    """A controller's keys and an enrolled box's, made under the widest umask."""

    config: ControllerConfig
    agent: Path

    @property
    def secrets(self) -> list[Path]:
        """The files that nobody else may read."""
        return [
            self.config.pki / "ca-key.pem",
            self.config.pki / "controller-key.pem",
            self.config.secrets_key,
            self.agent / KEY_FILE,
            self.agent / "journal.sqlite",
        ]


def install(folder: Path) -> Install:
    folder.mkdir()
    before = os.umask(0)
    try:
        config = ControllerConfig(state=folder / "controller")
        set_up.make_keys(config)
        agent = folder / "agent"
        agent.mkdir()
        authority = Authority.load(config.pki)
        renewal = Renewal(agent)
        issued = authority.issue(renewal.request, Name(authority.cluster, "box", BOX))
        (agent / CA_FILE).write_bytes(authority.certificate_pem)
        renewal.accept(issued.certificate_pem, authority.certificate_pem, datetime.now(UTC))
        journal = Journal(agent / "journal.sqlite")
        journal.lanes.assign([("l1", "ns1", "bind")])
        journal.close()
        return Install(config, agent)
    finally:
        os.umask(before)


def test_two_installs_share_no_secret(tmp_path: Path) -> None:
    one, two = install(tmp_path / "one"), install(tmp_path / "two")
    for mine, theirs in zip(one.secrets, two.secrets, strict=True):
        assert mine.read_bytes() != theirs.read_bytes(), mine
    assert Authority.load(one.config.pki).cluster != Authority.load(two.config.pki).cluster
    assert len({set_up.new_password() for _ in range(100)}) == 100
    lanes = [Journal(it.agent / "journal.sqlite") for it in (one, two)]
    assert lanes[0].lanes.get("l1").control_secret != lanes[1].lanes.get("l1").control_secret
    for journal in lanes:
        journal.close()


def test_what_is_secret_is_its_owners_whatever_the_umask(tmp_path: Path) -> None:
    made = install(tmp_path / "one")
    for path in made.secrets:
        assert path.stat().st_mode & 0o777 == 0o600, path
    private = [
        path
        for path in (tmp_path / "one").rglob("*")
        if path.is_file() and b"PRIVATE KEY" in path.read_bytes()
    ]
    assert len(private) == 3
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in private)
    assert (made.config.pki).stat().st_mode & 0o777 == 0o700


# --- seen at the start ---


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_a_key_that_others_can_read_is_refused_at_the_start(tmp_path: Path, mode: int) -> None:
    made = install(tmp_path / "one")
    starts = {
        "ca-key.pem": lambda: Identity.load(made.config),
        "controller-key.pem": lambda: Identity.load(made.config),
        "secrets.key": lambda: Secrets.load(made.config.secrets_key),
        KEY_FILE: lambda: load_identity(made.agent),
    }
    for path in made.secrets:
        start = starts.get(path.name)
        if start is None:
            continue
        start()
        path.chmod(mode)
        with pytest.raises(Exception, match="chmod 600") as refused:
            start()
        assert str(path) in str(refused.value)
        path.chmod(0o600)


def test_a_controller_with_an_open_key_does_not_start_and_says_why(tmp_path: Path) -> None:
    made = install(tmp_path / "one")
    config = tmp_path / "one" / "controller.toml"
    config.write_text('state = "controller"\ndatabase = "postgresql:///none"\n')
    config.chmod(0o644)
    made.config.secrets_key.chmod(0o644)
    ran = subprocess.run(
        [sys.executable, "-m", "controller.main", "init", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
        cwd=TREE,
    )
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr


def test_an_agent_with_an_open_key_does_not_start_and_says_why(tmp_path: Path) -> None:
    made = install(tmp_path / "one")
    config = tmp_path / "agent.toml"
    config.write_text(f'state = "{made.agent}"\ncontroller = ["127.0.0.1:1"]\n')
    config.chmod(0o644)
    (made.agent / KEY_FILE).chmod(0o644)
    ran = subprocess.run(
        [sys.executable, "-m", "node_agent.main", "run", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
        cwd=TREE,
        timeout=60,
    )
    assert ran.returncode == 1
    assert f"chmod 600 {made.agent / KEY_FILE}" in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("end", ["", "-wal"])
def test_a_journal_that_others_can_read_is_closed_to_them(
    tmp_path: Path, end: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "journal.sqlite"
    kept = Journal(path)
    kept.lanes.assign([("l1", "ns1", "bind")])
    opened = path.with_name(f"{path.name}{end}")
    opened.chmod(0o644)
    with caplog.at_level("WARNING", "hs-agent"):
        Journal(path).close()
    kept.close()
    assert opened.exists() is (end == "") or opened.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_mode & 0o777 == 0o600
    assert f"closed-to-others file={opened} mode=0644" in caplog.text


@pytest.mark.parametrize(
    "database",
    ["postgresql://hs:word@db/hs", "postgresql://hs@db/hs?sslmode=require&password=word"],
)
def test_a_password_of_the_database_is_not_for_all_to_read(tmp_path: Path, database: str) -> None:
    path = tmp_path / "controller.toml"
    path.write_text(f'state = "s"\ndatabase = "{database}"\n')
    path.chmod(0o640)
    assert read_config(path).database == database
    for mode in (0o644, 0o604):
        path.chmod(mode)
        with pytest.raises(ConfigError, match="chmod o-rwx") as refused:
            read_config(path)
        assert "word@" not in str(refused.value)
    path.write_text('state = "s"\ndatabase = "postgresql:///hs"\n')
    assert read_config(path).database


def test_tokens_and_an_operators_key_are_not_for_others_to_read(tmp_path: Path) -> None:
    path = tmp_path / "hsctl.toml"
    path.write_text('default = "a"\n')
    path.chmod(0o640)
    with pytest.raises(UnreachableError, match="chmod 600"):
        load(path)
    authority = Authority.create(tmp_path / "ca", CLUSTER)
    key = new_key()
    issued = authority.issue(signing_request(key), Name(CLUSTER, "operator", "ann"))
    write_private(tmp_path / "ann-key.pem", key)
    (tmp_path / "ann.pem").write_bytes(issued.certificate_pem)
    profile = Profile(
        "a",
        "https://127.0.0.1:1",
        authority.certificate_pem.decode(),
        certificate=str(tmp_path / "ann.pem"),
        key=str(tmp_path / "ann-key.pem"),
    )
    Client(profile).close()
    (tmp_path / "ann-key.pem").chmod(0o644)
    with pytest.raises(UnreachableError, match="chmod 600"):
        Client(profile).close()


# --- memory ---

WAITING = {
    "hs-ca": ("pki", "sign", "-", "--box", BOX),
    "hs-controller": ("controller", "admin", "reset-password", "--password-stdin", "ann"),
    "hs-agent": ("node_agent", "enrol", "--controller", "127.0.0.1:1", "-"),
}


@pytest.mark.parametrize("name", WAITING)
def test_a_process_that_holds_keys_leaves_no_core(tmp_path: Path, name: str) -> None:
    package, *words = WAITING[name]
    if name == "hs-ca":
        Authority.create(tmp_path / "ca", CLUSTER)
        words += ["--dir", str(tmp_path / "ca")]
    else:
        config = tmp_path / "config.toml"
        config.write_text(f'state = "{tmp_path}"\n' + "controller = []\n" * (name == "hs-agent"))
        config.chmod(0o644)
        words += ["--config", str(config)]
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    limit = f"resource.setrlimit(resource.RLIMIT_CORE, ({hard}, {hard}))"
    command = f"import resource; {limit}; from {package} import main; main.main()"
    with subprocess.Popen(
        [sys.executable, "-c", command, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=TREE,
    ) as process:
        try:
            limits = ""
            for _ in range(600):
                if process.poll() is not None or waits_for_input(process.pid):
                    break
                signal.sigtimedwait([], 0.1)
            assert process.poll() is None, process.stdout.read() if process.stdout else ""
            limits = Path(f"/proc/{process.pid}/limits").read_text()
        finally:
            process.kill()
    line = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert line.split()[4] == "0"


def waits_for_input(pid: int) -> bool:
    """Whether a process reads its standard input, an empty pipe."""
    try:
        words = Path(f"/proc/{pid}/syscall").read_text().split()
    except OSError:
        return False
    return words[:2] == ["0", "0x0"]
