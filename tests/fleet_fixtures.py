"""The fixture of a fleet; test modules import it by name."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted

from controller.storage.database import Database
from tests.fleet_cluster import FleetCluster


@pytest_twisted.async_yield_fixture(name="cluster")
async def fleet_cluster(
    database: Database, database_url: str, tmp_path: Path
) -> AsyncIterator[FleetCluster]:
    """A listening fleet on a fresh database."""
    started = await FleetCluster.start(database, database_url, tmp_path)
    yield started
    await started.stop()
