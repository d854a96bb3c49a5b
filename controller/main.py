"""``hs-controller``: sets a controller up, runs it, and lets its host's administrator in."""

import gc
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from controller.principal import system
from pki.cores import write_no_core

if TYPE_CHECKING:
    from controller.config import ControllerConfig
    from controller.storage.database import Database, Transaction
    from controller.storage.embedded import EmbeddedPostgres

T = TypeVar("T")

_HOST = system("hs-controller")

_config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("/etc/heliosphere/controller.toml"),
    show_default=True,
    help="The controller's configuration.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="heliosphere", prog_name="hs-controller")
def main() -> None:
    """The controller of a Heliosphere cluster.

    \b
    hs-controller init --config controller.toml
    hs-controller run --config controller.toml
    """
    write_no_core()


@main.command()
@_config_option
@click.option("--operator", default="admin", show_default=True, help="The first operator.")
def init(config_file: Path, operator: str) -> None:
    """Set up what is missing: CA, keys, database, first operator (whose password is printed).

    Run again it changes nothing that is there; it brings the database up to this program.

    \b
    hs-controller init --config /etc/heliosphere/controller.toml
    """
    from controller import set_up

    config = _read(config_file)
    with _told():
        set_up.make_keys(config)
        with set_up.database_of(config) as url:
            schema = set_up.make_database(config, url)
            click.echo(f"hs-controller: the database has schema {schema}", err=True)
            password = set_up.new_password()
            if _with_database(url, _first_operator(operator, password)):
                click.echo(f"operator {operator}, password {password}")


@main.command()
@_config_option
@click.option("--migrate/--no-migrate", default=True, help="Bring the database up to this program.")
@click.option(
    "--ready-file", type=click.Path(path_type=Path), help="Holds the URL while it serves."
)
def run(config_file: Path, migrate: bool, ready_file: Path | None) -> None:
    """Run the controller until it is told to end (SIGTERM, SIGINT).

    \b
    hs-controller run --config /etc/heliosphere/controller.toml
    """
    from controller import logs, set_up
    from controller.storage.migrations import migrate as bring_up

    config = _read(config_file)
    logs.start(config.log, bytes_kept=config.log_bytes, files_kept=config.log_files)
    with _told(), set_up.server_of(config) as (url, server):
        if migrate:
            bring_up(url)
        failed = _serve(config, url, server, ready_file)
    sys.exit(1 if failed else 0)


@main.group()
def admin() -> None:
    """What the administrator of this host may do without signing in."""


@admin.command("reset-password")
@_config_option
@click.argument("name")
@click.option("--create", is_flag=True, help="Add the operator if there is none of that name.")
@click.option("--password-stdin", is_flag=True, help="Read the password; one is drawn else.")
def reset_password(config_file: Path, name: str, create: bool, password_stdin: bool) -> None:
    """Give an operator a new password, and end all sessions of that operator.

    \b
    hs-controller admin reset-password admin
    """
    from controller import set_up

    config = _read(config_file)
    password = sys.stdin.readline().rstrip("\n") if password_stdin else set_up.new_password()
    with _told(), set_up.database_of(config) as url:
        _with_database(url, _password_setter(name, password, create=create))
    if not password_stdin:
        click.echo(password)


@admin.command()
@_config_option
@click.argument("name")
def enable(config_file: Path, name: str) -> None:
    """Let an operator in again whom `hsctl operator disable` shut out. Tokens stay revoked.

    \b
    hs-controller admin enable ann
    """
    from controller import set_up
    from controller.storage import people

    async def let_in(database: "Database") -> None:
        async def work(tx: "Transaction") -> None:
            await people.enable_operator(tx, name)

        await database.transaction(_HOST, work, name="admin.enable")

    config = _read(config_file)
    with _told(), set_up.database_of(config) as url:
        _with_database(url, let_in)


@admin.command()
@_config_option
@click.argument("name")
@click.option("--label", default="hs-controller admin token", help="What it is for.")
@click.option("--days", type=click.IntRange(min=1), help="How long it works; for ever by default.")
def token(config_file: Path, name: str, label: str, days: int | None) -> None:
    """Print a new API token of an operator. It is shown this once.

    \b
    hs-controller admin token admin --label laptop --days 90
    """
    from datetime import UTC, datetime, timedelta

    from controller import set_up
    from controller.storage import people

    config = _read(config_file)
    end = None if days is None else datetime.now(UTC) + timedelta(days=days)

    async def make(database: "Database") -> str:
        async def work(tx: "Transaction") -> str:
            return await people.create_token(tx, name, label, expires_at=end)

        return await database.transaction(_HOST, work, name="admin.token")

    with _told(), set_up.database_of(config) as url:
        text = _with_database(url, make)
    click.echo(text)


@main.group()
def secrets() -> None:
    """The key with which secrets are sealed in the database."""


@secrets.command()
@_config_option
def rotate(config_file: Path) -> None:
    """Seal all secrets with a new key. A controller that runs on this host takes it up by itself.

    Former keys stay in the file until they are forgotten. Where other hosts have a copy of the
    file, stop their controllers before, and copy it anew.

    \b
    hs-controller secrets rotate
    """
    from controller import set_up
    from controller.storage import key_rotation

    config = _read(config_file)

    async def work(database: "Database") -> "key_rotation.Rotated":
        return await key_rotation.rotate(database, _HOST, config.secrets_key)

    with _told(), set_up.database_of(config) as url:
        rotated = _with_database(url, work)
    click.echo(f"sealed with a new key: {rotated.sealed}")
    click.echo("The former keys are kept until they are forgotten: hs-controller secrets forget")
    if rotated.closed:
        words = ", ".join(rotated.closed[:20])
        raise click.ClickException(f"not to be opened, and left as they are: {words}")


@secrets.command()
@_config_option
def forget(config_file: Path) -> None:
    """Take former keys out of the file, once nothing is sealed with them.

    A backup holds the keys of its own time: it can be restored as before.

    \b
    hs-controller secrets forget
    """
    from controller import set_up
    from controller.storage import key_rotation

    config = _read(config_file)

    async def work(database: "Database") -> int:
        return await key_rotation.forget(database, _HOST, config.secrets_key)

    with _told(), set_up.database_of(config) as url:
        count = _with_database(url, work)
    click.echo(f"{count} former {'key' if count == 1 else 'keys'} forgotten")


def _read(path: Path) -> "ControllerConfig":
    from controller.config import ConfigError, read_config

    try:
        return read_config(path)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error


def _first_operator(name: str, password: str) -> Callable[["Database"], Awaitable[bool]]:
    """Add an operator where there is none at all; tells whether it did."""
    from controller.storage import people
    from controller.storage.passwords import Passwords

    async def add_it(database: "Database") -> bool:
        hashed = await Passwords().hash(password)

        async def work(tx: "Transaction") -> bool:
            if await people.list_operators(tx):
                return False
            await people.create_operator(tx, name, hashed)
            return True

        return await database.transaction(_HOST, work, name="admin.first")

    return add_it


def _password_setter(
    name: str, password: str, *, create: bool
) -> Callable[["Database"], Awaitable[None]]:
    from controller.storage import people
    from controller.storage.passwords import Passwords

    async def set_it(database: "Database") -> None:
        hashed = await Passwords().hash(password)

        async def work(tx: "Transaction") -> None:
            if create and await people.find_operator(tx, name) is None:
                await people.create_operator(tx, name, hashed)
            else:
                await people.set_password(tx, name, hashed)

        await database.transaction(_HOST, work, name="admin.password")

    return set_it


def _with_database(url: str, function: Callable[["Database"], Awaitable[T]]) -> T:
    """Run the reactor for one piece of work; give its answer or raise what it raised."""
    from twisted.internet import reactor as installed
    from twisted.internet.defer import ensureDeferred

    from controller.storage.database import Database

    reactor: Any = installed
    ended: list[Any] = []

    async def work() -> None:
        try:
            database = await Database.connect(url, size=1)
            try:
                ended.append((await function(database), None))
            finally:
                await database.close()
        except BaseException as error:  # told to the caller below, once the reactor has ended
            ended.append((None, error))
        reactor.stop()

    reactor.callWhenRunning(lambda: ensureDeferred(work()))
    reactor.run()
    answer, error = ended[-1]
    if error is not None:
        raise error
    return answer  # type: ignore[no-any-return]


def _serve(
    config: "ControllerConfig",
    url: str,
    server: "EmbeddedPostgres | None",
    ready_file: Path | None,
) -> bool:
    """Serve until told to end; tell whether it could not start."""
    from twisted.internet import reactor as installed
    from twisted.internet.defer import ensureDeferred
    from twisted.logger import Logger

    from controller.identity import Identity
    from controller.open_files import allow_most
    from controller.running import Controller
    from controller.storage.database import Database
    from controller.storage.tending import Tending

    allow_most()
    reactor: Any = installed
    # Twisted counts by the time of day: set back by an hour, nothing would be sent for an hour; set
    # forward, every box would have been silent for too long.
    reactor.seconds = time.monotonic
    log = Logger("hs-controller")
    failures: list[BaseException] = []

    async def start() -> None:
        try:
            database = await Database.connect(url, size=config.pool)
            controller = Controller(config, database, Identity.load(config), reactor)
            reactor.addSystemEventTrigger(
                "before", "shutdown", lambda: ensureDeferred(controller.stop())
            )
            await controller.start()
            # What it is made of stays: the collector need not walk it again, at 20 to 50 ms a time.
            gc.collect()
            gc.freeze()
        except Exception as error:  # told below; a controller that cannot serve must end
            log.failure("the controller cannot start")
            click.echo(f"hs-controller: cannot start: {error}", err=True)
            failures.append(error)
            reactor.stop()
            return
        if ready_file is not None:
            candidate = ready_file.with_name(f".{ready_file.name}.candidate")
            candidate.write_text(f"{controller.url}\n")
            candidate.replace(ready_file)
        log.info("ready {url}", url=controller.url)
        click.echo(f"hs-controller: ready {controller.url}", err=True)

    if server is not None:
        tending = Tending(server, reactor)
        reactor.callWhenRunning(tending.start)
        reactor.addSystemEventTrigger("before", "shutdown", lambda: ensureDeferred(tending.stop()))
    reactor.callWhenRunning(lambda: ensureDeferred(start()))
    try:
        reactor.run()
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)
    return bool(failures)


@contextmanager
def _told() -> Iterator[None]:
    """Tell what went wrong in one line, where a person can do something about it."""
    import psycopg2

    from controller.refusal import CommandError
    from controller.storage.binaries import BinariesError
    from controller.storage.embedded import EmbeddedPostgresError
    from controller.storage.errors import StorageError
    from controller.storage.key_file import SecretError
    from controller.storage.migrations import SchemaError
    from controller.storage.roles import RoleError
    from controller.storage.system_account import SystemAccountError
    from pki.authority import AuthorityError

    try:
        yield
    except LookupError as error:
        raise click.ClickException("there is no such operator, or it is disabled") from error
    except (
        AuthorityError,
        BinariesError,
        CommandError,
        EmbeddedPostgresError,
        OSError,
        RoleError,
        SchemaError,
        SecretError,
        StorageError,
        SystemAccountError,
        ValueError,
        psycopg2.OperationalError,
    ) as error:
        raise click.ClickException(str(error).strip()) from error


if __name__ == "__main__":
    main()
