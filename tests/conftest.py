"""Fixtures for every test: a real PostgreSQL, a migrated database for each test, leak checks."""

import gc
import itertools
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
import pytest_twisted
from hypothesis import HealthCheck, settings
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from controller.storage.database import Database
from controller.storage.embedded import EmbeddedPostgres
from controller.storage.migrations import migrate
from controller.storage.roles import OWNER_ROLE
from tests.scratch import in_memory, scratch

pytest_plugins = ("tests.integration.model", "tests.integration.small_cluster")

# How long an example takes says something of the machine, and nothing of the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

TEMPLATE = "hs_template"
_QUICK = ("integration", "security", "contract", "unit")
"""Folders whose files bring up less and less; those of any other come first."""
_OTHER_POSTGRES = "HELIOSPHERE_TEST_POSTGRES"
"""In the environment: a directory of PostgreSQL's programs to test with, instead of the wheel's."""
_numbers = itertools.count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest, so that no worker ends long after the other.

    Longest is what was given most time, then what brings up most; else the order stays random.
    """
    given: dict[Path, float] = {}
    for item in items:
        mark = item.get_closest_marker("timeout")
        seconds = float(mark.args[0]) if mark is not None and mark.args else 0.0
        given[item.path] = max(seconds, given.get(item.path, 0.0))
    here = Path(__file__).parent

    def order(item: pytest.Item) -> tuple[float, int]:
        folder = item.path.relative_to(here).parts[0]
        return -given[item.path], _QUICK.index(folder) + 1 if folder in _QUICK else 0

    items.sort(key=order)


def _administer(server: EmbeddedPostgres, *statements: str) -> None:
    connection = psycopg2.connect(server.administrator_url)
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    finally:
        connection.close()


@pytest.fixture(scope="session")
def short_directory() -> Iterator[Path]:
    """A directory that an unprivileged user may enter, with a path short enough for sockets."""
    directory = scratch("hs-")
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def memory_directory() -> Iterator[Path]:
    """The same, for databases: in memory where there is room, where no program may be run."""
    directory = scratch("hs-", in_memory())
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(memory_directory: Path) -> Iterator[EmbeddedPostgres]:
    """One server for the session, without fsync. Its database `hs_template` is migrated."""
    other = os.environ.get(_OTHER_POSTGRES)
    server = EmbeddedPostgres(
        memory_directory,
        Path(other) if other else None,
        settings={"fsync": "off", "max_connections": "200"},
    )
    server.start()
    try:
        _administer(server, f"CREATE DATABASE {TEMPLATE} OWNER {OWNER_ROLE}")
        migrate(server.url_of(OWNER_ROLE, TEMPLATE))
        yield server
    finally:
        server.stop()


@contextmanager
def fresh_database(postgres: EmbeddedPostgres) -> Iterator[str]:
    """Give the owner's connection string of a fresh, migrated database."""
    name = f"test_{next(_numbers)}"
    clone = f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER {OWNER_ROLE} STRATEGY FILE_COPY"
    _administer(postgres, clone)
    try:
        yield postgres.url_of(OWNER_ROLE, name)
    finally:
        if postgres.pid is not None:
            _administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The owner's connection string of a fresh, migrated database."""
    with fresh_database(postgres) as url:
        yield url


@pytest_twisted.async_yield_fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A `Database` (as `hs_runtime`) on a fresh, migrated database."""
    connected = await Database.connect(database_url)
    yield connected
    await connected.close()


@pytest.fixture(scope="session", autouse=True)
def frozen_heap() -> None:
    """Keep what was imported and collected out of the collections that end each test."""
    gc.collect()
    gc.freeze()


class LoggedErrors:
    """What was logged at level critical during a test: unhandled errors, failed callbacks."""

    def __init__(self) -> None:
        self._events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        if event.get("log_level") is LogLevel.critical:
            self._events.append(event)

    def flush(self) -> list[str]:
        """Take the texts of what was logged: a test that expects errors calls this."""
        events, self._events = self._events, []
        return [
            failure.getTraceback()
            if (failure := event.get("log_failure")) is not None
            else str(event.get("log_format"))
            for event in events
        ]


@pytest.fixture(autouse=True)
def logged_errors() -> Iterator[LoggedErrors]:
    """Fail a test that leaves delayed calls or unhandled errors behind."""
    errors = LoggedErrors()
    before = set(reactor.getDelayedCalls())
    globalLogPublisher.addObserver(errors)
    try:
        yield errors
        pytest_twisted.blockon(deferLater(reactor, 0))
        gc.collect()
        leaked = [call for call in reactor.getDelayedCalls() if call not in before]
        for call in leaked:
            call.cancel()
    finally:
        globalLogPublisher.removeObserver(errors)
    texts = errors.flush()
    assert not texts, "errors nobody handled:\n" + "\n".join(texts)
    assert not leaked, f"delayed calls left behind: {[str(call) for call in leaked]}"
