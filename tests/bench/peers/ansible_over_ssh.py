"""Ansible: over ssh to a real sshd on loopback: kept connections, pipelining, many forks."""

import getpass
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.peers import peer
from tests.bench.peers.name_server import TEMPLATE, NameServer, waiting, zone_file
from tests.free_ports import free_port

_CONFIG = """[defaults]
forks = {forks}
gathering = explicit
host_key_checking = False
inventory = {folder}/inventory
interpreter_python = /usr/bin/python3
[ssh_connection]
pipelining = True
ssh_args = -o ControlMaster=auto -o ControlPersist=300s -F none
control_path_dir = {folder}/c
"""
_PLAY = """- hosts: host1
  gather_facts: false
  tasks:
    - name: the zone's file
      ansible.builtin.template:
        src: {folder}/zone.j2
        dest: "{{{{ file }}}}"
      register: written
    - name: reload
      ansible.builtin.command: "{reload} {{{{ zone }}}}"
      when: written.changed
"""
_PLAY_OF_ALL = """- hosts: host1
  gather_facts: false
  tasks:
    - name: the zones' files
      ansible.builtin.template:
        src: {folder}/zone.j2
        dest: "{zones}/{{{{ zone }}}}.zone"
      vars:
        zone: "{{{{ item.key }}}}"
        serial: "{{{{ item.value }}}}"
      loop: "{{{{ serials | dict2items }}}}"
      register: written
    - name: reload
      ansible.builtin.command: "{reload} {{{{ item }}}}"
      loop: "{{{{ written.results | selectattr('changed') | map(attribute='item.key') }}}}"
"""


class Ansible:
    """ansible-core with N hosts, all of them this one over ssh."""

    def __init__(self, folder: Path, agents: int, server: NameServer) -> None:
        self._folder = folder
        self._server = server
        self._programs = peer.install(folder, "environment", ["ansible-core"])
        self._sshd: subprocess.Popen[bytes] | None = None
        self._port = port = free_port()
        hosts = "".join(
            f"host{n} ansible_host=127.0.0.1 ansible_port={port} ansible_user={getpass.getuser()}"
            f" ansible_ssh_private_key_file={folder / 'key'}\n"
            for n in range(1, agents + 1)
        )
        (folder / "inventory").write_text(hosts)
        (folder / "ansible.cfg").write_text(_CONFIG.format(folder=folder, forks=agents))
        (folder / "zone.j2").write_text(TEMPLATE)
        play = _PLAY.format(folder=folder, reload=server.reload_command)
        (folder / "play.yml").write_text(play)
        zones = zone_file(server.folder, "").parent
        play = _PLAY_OF_ALL.format(folder=folder, reload=server.reload_command, zones=zones)
        (folder / "play_of_all.yml").write_text(play)
        self.words = (
            f"ansible-core {peer.version(self._programs, 'ansible-core')} from PyPI;"
            f" {agents} hosts of one sshd on loopback, OpenSSH with ControlMaster and"
            f" ControlPersist (connections are open before it is measured), pipelining,"
            f" forks = {agents}, no facts gathered; `ansible all -m ping`, and a playbook of"
            " `template` and `command: rndc reload ZONE` when it changed, for that zone alone;"
            " among all, both as loops; side by side, as many programs"
        )

    def start(self) -> None:
        self._sshd = _start_sshd(self._folder, self._port)
        waiting(self._lets_us_in, 30, "sshd does not let us in")

    def no_op(self) -> None:
        self._run("ansible", "all", "-m", "ansible.builtin.ping")

    def change(self, zone: str, serial: int) -> None:
        self._change(zone, serial)

    def change_among_all(self, serials: Mapping[str, int]) -> None:
        variables = self._folder / "serials.json"
        variables.write_text(json.dumps({"serials": dict(serials)}))
        self._run("ansible-playbook", str(self._folder / "play_of_all.yml"), "-e", f"@{variables}")

    def clients(self, count: int) -> Sequence[peer.Client]:
        return [self._change] * count

    def close(self) -> None:
        for socket in (self._folder / "c").glob("*"):
            words = ("ssh", "-F", "none", "-o", f"ControlPath={socket}", "-O", "exit", "x")
            subprocess.run(words, check=False, capture_output=True)
        if self._sshd is not None:
            self._sshd.terminate()
            self._sshd.wait()

    def _change(self, zone: str, serial: int) -> int:
        file = zone_file(self._server.folder, zone)
        variables = f"zone={zone} serial={serial} file={file}"
        self._run("ansible-playbook", str(self._folder / "play.yml"), "-e", variables)
        return serial

    def _lets_us_in(self) -> bool:
        assert self._sshd is not None
        if self._sshd.poll() is not None:
            raise RuntimeError(f"sshd ended with {self._sshd.returncode}")
        options = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
        key, where = str(self._folder / "key"), f"{getpass.getuser()}@127.0.0.1"
        words = ("ssh", "-F", "none", "-i", key, "-p", str(self._port), *options, where, "true")
        return subprocess.run(words, check=False, capture_output=True).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(self._folder / "ansible.cfg"),
            "ANSIBLE_LOCAL_TEMP": str(self._folder / "local"),
            "ANSIBLE_REMOTE_TEMP": str(self._folder / "remote"),
            "LC_ALL": "C.UTF-8",
        }
        found = subprocess.run(
            [str(self._programs / program), *arguments],
            check=False,
            capture_output=True,
            text=True,
            env=environment,
        )
        if found.returncode:
            raise RuntimeError(f"{program}: {found.stdout[-1500:]}{found.stderr[-1500:]}")


def _start_sshd(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    for name in ("key", "host_key"):
        words = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
        subprocess.run(words, check=True)
    shutil.copy(folder / "key.pub", folder / "authorized_keys")
    (folder / "c").mkdir(mode=0o700)
    (folder / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host_key'}\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nPidFile none\nUsePAM no\n"
        "StrictModes no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\n"
        "MaxStartups 200\nMaxSessions 200\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # its privilege separation wants it
    program = shutil.which("sshd") or "/usr/sbin/sshd"
    return subprocess.Popen(
        [program, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.DEVNULL
    )
