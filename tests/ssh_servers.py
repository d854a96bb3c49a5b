"""Two SSH servers for enrolments: Debian's own sshd, and Conch's as its fake.

The real one runs in a mount namespace of its own, where files of ours stand over /etc/passwd and
/etc/shadow: root has a password there, and no account of the machine is touched.
"""

import itertools
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
from twisted.conch.avatar import ConchUser
from twisted.conch.interfaces import ISession
from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.session import SSHSession
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet import reactor
from twisted.python.components import registerAdapter
from zope.interface import implementer

from tests.free_ports import free_port

PASSWORD = "tr0ub4dor & three-horses"
SSHD = "/usr/sbin/sshd"
_START_SECONDS = 30.0

_NAMESPACE = """
mount -t tmpfs tmpfs /run && mkdir /run/sshd &&
mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/shadow" /etc/shadow &&
exec /usr/sbin/sshd -D -e -f "$1/config"
"""

_CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {directory}/host_key
PidFile none
UsePAM no
PasswordAuthentication yes
KbdInteractiveAuthentication no
PubkeyAuthentication no
PermitRootLogin yes
StrictModes no
PrintLastLog no
"""


@attrs.frozen
class SshServer:
    """A running server: where, who may log in, and the fingerprint of its host key."""

    port: int
    fingerprint: str
    login: str = "root"


def can_run_sshd() -> bool:
    """Whether this process may give sshd a mount namespace."""
    if os.geteuid() != 0 or not Path(SSHD).exists() or shutil.which("unshare") is None:
        return False
    tried = subprocess.run(
        ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/run"],
        capture_output=True,
        check=False,
    )
    return tried.returncode == 0


def make_host_key(directory: Path) -> str:
    """Make a host key; give its fingerprint as ssh-keygen says it."""
    key = directory / "host_key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    said = subprocess.run(
        ["ssh-keygen", "-l", "-f", f"{key}.pub"], capture_output=True, text=True, check=True
    )
    return said.stdout.split()[1]


@contextmanager
def openssh(directory: Path) -> Iterator[SshServer]:
    """Run Debian's sshd with a root password of its own."""
    directory.mkdir(parents=True)
    fingerprint = make_host_key(directory)
    shutil.copy("/etc/passwd", directory / "passwd")
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"],
        input=PASSWORD,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    shadow = directory / "shadow"
    shadow.write_text(f"root:{hashed}:19000:0:99999:7:::\nsshd:!:19000::::::\n")
    shadow.chmod(0o600)
    for attempt in itertools.count(1):
        port = free_port()
        (directory / "config").write_text(_CONFIG.format(port=port, directory=directory))
        server = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _NAMESPACE, "sshd", str(directory)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        said = _until_listening(server)
        if "Server listening" in said:
            break
        _end(server)
        assert attempt < 5, said
    try:
        yield SshServer(port, fingerprint)
    finally:
        _end(server)


def _end(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    server.communicate()


def _until_listening(server: "subprocess.Popen[bytes]") -> str:
    """Read what sshd says until it listens or ends."""
    assert server.stderr is not None
    said = b""
    until = time.monotonic() + _START_SECONDS
    while b"Server listening" not in said:
        ready, _, _ = select.select([server.stderr], [], [], max(0.0, until - time.monotonic()))
        read = os.read(server.stderr.fileno(), 4096) if ready else b""
        if not read:
            break
        said += read
    return said.decode("utf-8", "replace")


@implementer(ISession)
class _Shell:
    """Runs commands by /bin/sh, as the user of the tests."""

    def __init__(self) -> None:
        self._process: Any = None

    def execCommand(self, protocol: Any, command: bytes) -> None:
        self._process = reactor.spawnProcess(
            protocol, "/bin/sh", ["/bin/sh", "-c", command], env=dict(os.environ)
        )

    def eofReceived(self) -> None:
        if self._process is not None:
            self._process.closeStdin()

    def closed(self) -> None:
        if self._process is not None and self._process.pid is not None:
            self._process.signalProcess("KILL")


class _User(ConchUser):
    def __init__(self) -> None:
        super().__init__()
        self.channelLookup[b"session"] = SSHSession


registerAdapter(lambda user: _Shell(), _User, ISession)


@implementer(IRealm)
class _Realm:
    def requestAvatar(self, user: object, mind: object, *interfaces: Any) -> Any:
        return interfaces[0], _User(), lambda: None


class _Factory(SSHFactory):
    noisy = False

    def __init__(self, key: Key) -> None:
        self.publicKeys = {b"ssh-ed25519": key.public()}
        self.privateKeys = {b"ssh-ed25519": key}
        checker = InMemoryUsernamePasswordDatabaseDontUse(root=PASSWORD.encode())
        self.portal = Portal(_Realm(), [checker])
        self.attemptsBeforeDisconnect = 3


@contextmanager
def conch(directory: Path) -> Iterator[SshServer]:
    """Serve by Conch, in this process."""
    directory.mkdir(parents=True)
    fingerprint = make_host_key(directory)
    factory = _Factory(Key.fromFile(str(directory / "host_key")))
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    try:
        yield SshServer(port.getHost().port, fingerprint)
    finally:
        port.stopListening()
