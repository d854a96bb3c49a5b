"""``hsctl support``: what a bug report needs, in one file, without secrets."""

import io
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import click

from controller.client.errors import HsctlError, RefusedError
from controller.hsctl.controller_host import chosen_config, config_option
from controller.hsctl.terminal import say
from controller.hsctl.verbs import session

_AGENT_CONFIG = Path("/etc/heliosphere/agent.toml")
_AGENT_SECONDS = 20.0
_MOST_OF_A_LOG = 4 * 1024 * 1024
_MOST_DAEMONS = 20
_DAEMON_LINES = 500
_HIDDEN = "(removed)"
_WORD = r"(?:password|passphrase|secret|token|csrf)"
_VALUE = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s"',}]+)"""
_SECRETS = (
    # A key may be cut off at either end, and in JSON its line ends are written out.
    re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
        r"(?:(?:\\n|\r?\n)[A-Za-z0-9+/=]+(?=\\n|\r?\n|\Z|-----|[\"']))*"
    ),
    re.compile(r"(?:[A-Za-z0-9+/=]{1,80}(?:\\n|\r?\n))+-----END [A-Z ]*PRIVATE KEY-----"),
    re.compile(r"\bhs_[A-Za-z0-9_-]{16,}"),
    re.compile(r"\bhs1\.[0-9a-f-]{36}\.[A-Za-z0-9_-]+"),
    re.compile(r"\$argon2[a-z]*\$[^\s\"']+"),
    re.compile(r"(?<=://)[^/@\s]+(?=@)"),
    re.compile(r"(?i)(?<=bearer )[^\s\"']+"),
    # As in a URL, in JSON, in TOML, and in named.conf, where a quoted value follows the bare word.
    re.compile(rf"(?i)(?P<kept>{_WORD}[\"']?\s*[:=]\s*){_VALUE}"),
    re.compile(r'(?i)(?P<kept>\bsecret\s+)"[^"]*"'),
    # Keys and tokens without a word before them: long base64, of either alphabet.
    re.compile(
        r"(?<![A-Za-z0-9+/_-])(?=[a-z0-9+/_-]*[A-Z])(?=[A-Z0-9+/_-]*[a-z])(?=[A-Za-z+/_-]*[0-9])"
        r"[A-Za-z0-9+/_-]{40,}={0,2}"
    ),
    # A password as this product draws it.
    re.compile(r"\b[a-km-np-z2-9]{5}(?:-[a-km-np-z2-9]{5}){3}\b"),
)


def scrubbed(text: str) -> str:
    """Give ``text`` without keys, tokens and passwords.

    Whatever looks like one goes: a report with a gap too many is better than one with a key.
    """
    for pattern in _SECRETS:
        keeps = "kept" in pattern.groupindex
        # In quotes after a name, so that what was JSON or TOML can still be read as such.
        text = pattern.sub(rf'\g<kept>"{_HIDDEN}"' if keeps else _HIDDEN, text)
    return text


@click.group()
def support() -> None:
    """Collect what a bug report needs.

    \b
    hsctl support bundle report.tar.gz
    """


@support.command()
@click.argument("file", type=click.Path(path_type=Path), default=Path("heliosphere-report.tar.gz"))
@config_option
@click.option(
    "--logs",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="More directories with *.log files.",
)
def bundle(file: Path, config: Path | None, logs: tuple[Path, ...]) -> None:
    """Write state and logs to FILE (0600): versions, status, faults, changes, configuration.

    Connected boxes are asked for the last lines that their daemons logged, 20 daemons at most,
    those in trouble first. On a box, also what its agent says of itself. What cannot be had (a
    controller that is away, no configuration on this host) is left out, and the file says so. Read
    it before you send it: names of customers' domains and addresses of their visitors are in it.

    \b
    hsctl support bundle report.tar.gz
    hsctl --profile local support bundle report.tar.gz
    hsctl support bundle report.tar.gz --logs /var/log/heliosphere
    """
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise RefusedError(f"refused: {file}: {error.strerror}") from error
    with (
        os.fdopen(descriptor, "wb") as target,
        tarfile.open(fileobj=target, mode="w:gz") as archive,
    ):
        for name, text in _parts(config, logs):
            content = scrubbed(text).encode("utf-8", "replace")
            entry = tarfile.TarInfo(f"heliosphere-report/{name}")
            entry.size = len(content)
            entry.mode = 0o600
            entry.mtime = int(time.time())
            archive.addfile(entry, io.BytesIO(content))
    say(f"written: {file}")


def _parts(config: Path | None, logs: tuple[Path, ...]) -> Iterator[tuple[str, str]]:
    yield "versions.txt", _versions()
    for name, command, paged in (
        ("status.json", "status.show", False),
        ("faults.json", "fault.list", True),
        ("changes.json", "change.list", True),
    ):
        try:
            client = session().client
            answer = list(client.pages(command, {}, 500)) if paged else client.read(command, {})
            yield name, json.dumps(answer, indent=2)
        except HsctlError as error:
            yield name, f"not to be had: {error.message}\n"
    yield from _of_servers()
    yield from _of_this_host(config, logs)


def _of_servers() -> Iterator[tuple[str, str]]:
    """Give the logical servers, and what their daemons logged last, as their boxes tell it."""
    try:
        client = session().client
        servers = list(client.pages("lserver.list", {}, 500))
    except HsctlError as error:
        yield "logical-servers.json", f"not to be had: {error.message}\n"
        return
    yield "logical-servers.json", json.dumps(servers, indent=2)
    lanes = sorted(
        (lane["condition"] == "ok" and not lane["faults"], lane["pserver"], server["name"])
        for server in servers
        for lane in server["lanes"]
        if lane["connected"]
    )
    for _, box, server in lanes[:_MOST_DAEMONS]:
        asked = {"name": box, "service": server, "lines": _DAEMON_LINES}
        try:
            text = "\n".join(client.read("pserver.log", asked)["lines"]) + "\n"
        except HsctlError as error:
            text = f"not to be had: {error.message}\n"
        yield f"daemons/{box}-{server}.log", text


def _of_this_host(given: Path | None, logs: tuple[Path, ...]) -> Iterator[tuple[str, str]]:
    """Give configuration and logs of the controller, and what agents here say of themselves."""
    from controller.local.layout import Layout

    agents = {"agent": _AGENT_CONFIG} if _AGENT_CONFIG.exists() else {}
    try:
        config = chosen_config(given)
    except HsctlError as error:
        yield "controller.toml", f"not to be had: {error.message}\n"
    else:
        yield "controller.toml", _text(config)
        layout = Layout(config.absolute().parent.parent)
        if layout.plan.exists():
            agents = {path.parent.name: path for path in layout.boxes.glob("*/agent.toml")}
            logs = (layout.root, layout.logs, *logs)
        logs = (*_log_directories(config), *logs)
    for name, path in sorted(agents.items()):
        yield f"agents/{name}.toml", _text(path)
        for verb in ("status", "faults"):
            yield f"agents/{name}-{verb}.json", _agent_says(verb, path)
    for directory in dict.fromkeys(path.resolve() for path in logs):
        for path in sorted((*directory.glob("*.log*"), *directory.glob("*.out*"))):
            yield f"logs/{directory.name}-{path.name}", _text(path)


def _agent_says(verb: str, config: Path) -> str:
    """Ask the agent's own program, which the controller's must not import."""
    command = [sys.executable, "-I", "-m", "node_agent.main", verb, "--config", str(config)]
    try:
        ended = subprocess.run(
            [*command, "-o", "json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_AGENT_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"not to be had: {error}\n"
    return ended.stdout if ended.returncode == 0 else f"not to be had: {ended.stderr}"


def _versions() -> str:
    from importlib.metadata import distributions

    packages = sorted(f"{part.name} {part.version}" for part in distributions())
    system = os.uname()
    words = f"{system.sysname} {system.release} {system.machine}"
    lines = [words, f"Python {platform.python_version()}", *packages]
    return "\n".join(lines) + "\n"


def _log_directories(config: Path) -> tuple[Path, ...]:
    from controller.config import ConfigError, read_config

    try:
        log = read_config(config).log
    except ConfigError:
        return ()
    return () if log is None else (log.parent,)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            start = max(0, file.tell() - _MOST_OF_A_LOG)
            file.seek(start)
            return file.read(_MOST_OF_A_LOG).decode("utf-8", "replace")
    except OSError as error:
        return f"not to be had: {error}\n"
