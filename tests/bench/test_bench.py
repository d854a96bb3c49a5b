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
    for part in "abcde":
        assert f"\n{part}. " in finished.stdout, finished.stdout


@pytest.mark.timeout(300)
def test_the_wide_model_is_filled_and_every_question_is_answered() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "tests.bench.wide", "--scale", "0.01", "--times", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert "health over the whole model" in finished.stdout
    assert "ip add" in finished.stdout
