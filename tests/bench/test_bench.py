"""The bench must run, so that it does not rot. What it finds is for people to read."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
def test_quick_bench_measures_every_part(tmp_path: Path) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    for part in "abcdefghij":
        assert f"\n{part}. " in finished.stdout, finished.stdout
