"""A real agent process on a real box: this machine, a temporary directory, loopback."""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol

from tests.daemons import programs
from tests.integration.named_lane import _daemon_user
from tests.scratch import scratch


class _Watch(ProcessProtocol):
    def __init__(self) -> None:
        self.output = bytearray()
        self.ended: Deferred[int] = Deferred()

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self.output += data

    def processEnded(self, reason: Any) -> None:
        self.ended.callback(reason.value.exitCode or 0)


class AgentProcess:
    """``hs-agent run`` for one state directory; may be killed and started again."""

    def __init__(self, controllers: list[int]) -> None:
        self.directory = scratch("heliosphere-agent-")
        self.directory.chmod(0o755)
        self.state = self.directory / "state"
        self.config = self.directory / "agent.toml"
        lines = [
            f'state = "{self.state}"',
            "controller = [" + ", ".join(f'"127.0.0.1:{port}"' for port in controllers) + "]",
        ]
        granted = [
            "[programs]",
            *(f'{name} = "{path}"' for name, path in programs().items()),
            "[users]",
            *([f'named = "{_daemon_user()}"', 'apache2 = "www-data"'] if os.geteuid() == 0 else []),
            "[modules]",
            'apache2 = "/usr/lib/apache2/modules"',
        ]
        self.config.write_text("\n".join(lines) + "\n")
        self.config.chmod(0o644)
        self.grants = self.directory / "grants.toml"
        self.grants.write_text("\n".join(granted) + "\n")
        self.grants.chmod(0o644)
        self._watch = _Watch()
        self._process: Any = None

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    @property
    def output(self) -> str:
        return self._watch.output.decode(errors="replace")

    def start(self) -> None:
        self._watch = _Watch()
        self._process = reactor.spawnProcess(
            self._watch,
            sys.executable,
            [sys.executable, "-m", "node_agent.main", "run", "--config", str(self.config)],
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            path=str(Path(__file__).parent.parent),
        )

    async def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        await self._watch.ended

    async def terminate(self) -> int:
        os.kill(self.pid, signal.SIGTERM)
        return await self._watch.ended

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Run another ``hs-agent`` command to its end."""
        watch = _Watch()
        reactor.spawnProcess(
            watch,
            sys.executable,
            [sys.executable, "-m", "node_agent.main", *arguments, "--config", str(self.config)],
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            path=str(Path(__file__).parent.parent),
        )
        status = await watch.ended
        return status, watch.output.decode(errors="replace")

    def daemons(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline"]):
            if any(str(self.state) in part for part in process.info["cmdline"] or []):
                found.append(process)
        return [process for process in found if process.pid != self._agent_pid()]

    def _agent_pid(self) -> int:
        return self.pid if self._process is not None and self._process.pid else -1

    async def sweep(self) -> None:
        """End everything that was started here, by pid, and remove the directory."""
        if self._process is not None and self._process.pid:
            await self.kill()
        left = self.daemons()
        for process in left:
            process.kill()
        psutil.wait_procs(left, timeout=5)
        shutil.rmtree(self.directory, ignore_errors=True)
