"""A PostgreSQL that tests may kill."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.storage.embedded import EmbeddedPostgres


@pytest.fixture(scope="module")
def own_postgres(memory_directory: Path) -> Iterator[EmbeddedPostgres]:
    """A server that only one module uses."""
    directory = Path(tempfile.mkdtemp(prefix="pg-", dir=memory_directory))
    directory.chmod(0o711)
    server = EmbeddedPostgres(directory, settings={"fsync": "off"})
    server.start()
    yield server
    server.stop()
