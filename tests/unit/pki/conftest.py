from pathlib import Path

import pytest

from pki.authority import Authority
from tests.unit.pki.forge import CLUSTER


@pytest.fixture
def ca_directory(tmp_path: Path) -> Path:
    return tmp_path / "ca"


@pytest.fixture
def authority(ca_directory: Path) -> Authority:
    return Authority.create(ca_directory, CLUSTER)
