"""A running site for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_twisted

from tests.web_site import Site, running_site


@pytest_twisted.async_yield_fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with running_site(tmp_path) as running:
        yield running
