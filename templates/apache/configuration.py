"""The server's own configuration: the object ``server`` to files and checks."""

from pathlib import PurePosixPath

from templates.apache.certificates import KeyPair, file_digest, load_pair
from templates.apache.names import HEALTH, NEUTRAL, mailbox
from templates.apache.objects import ServerSpec
from templates.apache.shared import Shared, shared_of
from templates.effects import (
    CheckBound,
    CheckProgram,
    FileEffect,
    MakeDirectory,
    ProbeHttp,
    RemovePath,
    UnitPlan,
    WriteFile,
)
from templates.overrides import FOLDER
from templates.render import render
from templates.service_type import SERVER_ID, LaneContext, PlanRefusedError, TakenUp, Unit

MAIN_FILE = "apache2.conf"
PID_FILE = "run/apache2.pid"
_TAKEN_UP_FILE = "run/taken-up.conf"
_SCRATCH = "check/server.conf"
THREADS = 25
"""Threads of a child process while as many as that may work at all."""
BASELINE = ProbeHttp(HEALTH, statuses=(204,))
_MODULES = (
    "mpm_event",
    "unixd",
    "log_config",
    "authz_core",
    "reqtimeout",
    "mime",
    "dir",
    "autoindex",
    "alias",
    "vhost_alias",
)
_TLS_MODULES = (*_MODULES, "ssl")
_DIRECTORIES = (
    MakeDirectory("run"),
    MakeDirectory("logs"),
    MakeDirectory("vhosts"),
    MakeDirectory("sites"),
    MakeDirectory("accounts"),
    MakeDirectory("addresses"),
    MakeDirectory("check"),
    MakeDirectory("tls", mode=0o700),
    MakeDirectory(f"{FOLDER}/server"),
    MakeDirectory(f"{FOLDER}/accounts"),
)


def main_file(context: LaneContext) -> str:
    """Give the absolute path of the main configuration file."""
    return str(context.root / MAIN_FILE)


def taken_up(word: str) -> TakenUp:
    """Have the host that tells the server's health answer for ``word`` too.

    The files of accounts are read after this one: where it is in effect, so are they.
    """
    path = f"/{word}"
    return TakenUp(
        WriteFile(_TAKEN_UP_FILE, render("apache/taken-up.conf.j2", path=path).encode()),
        ProbeHttp(HEALTH, path=path, statuses=(204,), taken_up=True),
    )


def full_check(context: LaneContext) -> CheckProgram:
    """Check what a cold start would read. It opens no certificate: see `certificates`."""
    return CheckProgram("apache2", ("-t", "-f", main_file(context)))


def plan_server(context: LaneContext, before: Unit, after: Unit) -> UnitPlan:
    """Plan the logical server itself.

    Its removal touches nothing: a lane that is assigned no more is worked no more.
    """
    old: ServerSpec | None = before.objects.get(SERVER_ID)
    new: ServerSpec | None = after.objects.get(SERVER_ID)
    if new is None:
        return UnitPlan(unit=after.name)
    path = _fallback_file(new)
    pair = load_pair(new.fallback) if path and new.fallback else None
    shared = shared_of(new)
    files: list[FileEffect] = [*_DIRECTORIES]
    if pair is not None:
        files.append(WriteFile(path, pair.pem, mode=0o600))
    files += [WriteFile(each.path, load_pair(each.certificate).pem, mode=0o600) for each in shared]
    files.append(WriteFile(MAIN_FILE, _main_text(context, new, shared, fallback=path).encode()))
    return UnitPlan(
        unit=after.name,
        files=tuple(files),
        # The certificate has its file name only after the checks, which never open it.
        scratch=(WriteFile(_SCRATCH, _main_text(context, new, shared, fallback="").encode()),),
        checks=(
            *(CheckBound(address) for address in _addresses(new)),
            CheckProgram("apache2", ("-t", "-f", str(context.root / _SCRATCH))),
        ),
        reload=True,
        probes=(BASELINE, *_beside(new), *_tls_probe(new, pair), *_shared_probes(new, shared)),
        retire=_retired(old, new),
    )


def named_directories(spec: ServerSpec | None) -> tuple[str, ...]:
    """Give the directories outside the lane's own that the main configuration names."""
    return (spec.settings.home_root,) if spec is not None and spec.settings.home_root else ()


def check_text(context: LaneContext, candidate: str) -> str:
    """Give the smallest configuration that ``candidate`` (relative) can be checked in."""
    return render(
        "apache/check.conf.j2",
        modules=_TLS_MODULES,
        modules_directory=modules_directory(context),
        root=root(context),
        neutral_name=NEUTRAL,
        candidate=candidate,
    )


def root(context: LaneContext) -> str:
    """Give the lane's directory for use in sections, which would read patterns in it."""
    text = str(context.root)
    if any(character in text for character in '*?[]\\"'):
        raise PlanRefusedError(f"the lane's directory {text!a} has a character that Apache reads")
    return text


def modules_directory(context: LaneContext) -> PurePosixPath:
    """Give the directory of Apache's modules on the box."""
    if context.modules is None or not context.modules.is_absolute():
        raise PlanRefusedError("the box names no directory of Apache's modules (agent.toml)")
    return context.modules


def _fallback_file(spec: ServerSpec) -> str:
    if not spec.settings.tls_port:
        return ""
    if spec.fallback is None:
        raise PlanRefusedError("tls_port is set, but there is no neutral certificate (fallback)")
    return f"tls/fallback.{file_digest(spec.fallback)}.pem"


def _retired(old: ServerSpec | None, new: ServerSpec) -> tuple[RemovePath, ...]:
    """Give the certificates that are read no more."""
    kept = _certificate_files(new)
    return tuple(RemovePath(path) for path in _certificate_files(old) if path not in kept)


def _certificate_files(spec: ServerSpec | None) -> tuple[str, ...]:
    if spec is None or not spec.settings.tls_port:
        return ()
    return (_fallback_file(spec), *(each.path for each in shared_of(spec)))


def _addresses(spec: ServerSpec) -> list[str]:
    return sorted({endpoint.address for endpoint in spec.endpoints})


def _beside(spec: ServerSpec) -> tuple[ProbeHttp, ...]:
    """Ask at every endpoint after the first too: each is one that clients are sent to."""
    return tuple(
        ProbeHttp(HEALTH, statuses=(204,), address=endpoint.address, port=endpoint.port)
        for endpoint in spec.endpoints[1:]
    )


def _tls_probe(spec: ServerSpec, pair: KeyPair | None) -> tuple[ProbeHttp, ...]:
    if pair is None:
        return ()
    port = spec.settings.tls_port
    leaf = pair.fingerprint
    return (ProbeHttp(NEUTRAL, statuses=(404,), tls=True, port=port, certificate=leaf),)


def _shared_probes(spec: ServerSpec, shared: tuple[Shared, ...]) -> tuple[ProbeHttp, ...]:
    port = spec.settings.tls_port
    return tuple(
        ProbeHttp(
            each.name,
            statuses=(404,),
            tls=True,
            port=port,
            certificate=load_pair(each.certificate).fingerprint,
        )
        for each in shared
    )


def _main_text(
    context: LaneContext, spec: ServerSpec, shared: tuple[Shared, ...], *, fallback: str
) -> str:
    """Write the main file; without ``fallback`` it names no certificate at all."""
    settings = spec.settings
    if not spec.endpoints:
        raise PlanRefusedError("the server has no address to listen on")
    listen = sorted({(endpoint.address, endpoint.port, "http") for endpoint in spec.endpoints})
    if settings.tls_port:
        if any(endpoint.port == settings.tls_port for endpoint in spec.endpoints):
            raise PlanRefusedError(f"tls_port {settings.tls_port} is the port of plain HTTP too")
        addresses = {endpoint.address for endpoint in spec.endpoints}
        listen += sorted((address, settings.tls_port, "https") for address in addresses)
    for _, port, _ in listen:
        if not 1 <= port <= 65535:
            raise PlanRefusedError(f"port {port} is not from 1 to 65535")
    children = max(1, settings.max_request_workers // THREADS)
    threads = min(64, settings.max_request_workers // children)
    ports = sorted({endpoint.port for endpoint in spec.endpoints})
    base = root(context)
    return render(
        "apache/apache2.conf.j2",
        modules=_TLS_MODULES if settings.tls_port else _MODULES,
        modules_directory=modules_directory(context),
        root=base,
        user=context.daemon_user or "",
        neutral_name=NEUTRAL,
        health_name=HEALTH,
        taken_up=_TAKEN_UP_FILE,
        listen=[
            {"address": address, "port": port, "protocol": protocol}
            for address, port, protocol in listen
        ],
        http_hosts=" ".join(f"*:{port}" for port in ports),
        tls_hosts=f"*:{settings.tls_port}" if settings.tls_port else "",
        tls_port=settings.tls_port,
        fallback=fallback,
        shared=[
            {"domain": each.domain, "name": each.name, "path": each.path if fallback else ""}
            for each in shared
        ],
        start_servers=min(2, children),
        threads=threads,
        spare_threads=min(children, 3) * threads,
        workers=children * threads,
        timeout=settings.timeout,
        miva="" if settings.miva == "none" else settings.miva,
        home_root=settings.home_root,
        webshell="" if settings.webshell == "none" else settings.webshell,
        admin=mailbox(settings.server_admin) if settings.server_admin else "",
        document_roots=base.replace("%", "%%") + "/vhosts/%0",
    )
