"""One cluster of real processes, with sites of a customer who does nothing wrong."""

from collections.abc import Iterator

import pytest

from tests.faults.cluster_under_fault import broken_cluster
from tests.pains.neighbours import Neighbours


@pytest.fixture(scope="package")
def neighbours() -> Iterator[Neighbours]:
    """A local cluster with neighbours, and an account ``acme`` that has nothing yet."""
    with broken_cluster() as broken:
        made = Neighbours(broken)
        made.move_in()
        yield made
