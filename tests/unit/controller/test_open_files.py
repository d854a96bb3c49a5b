"""A fleet of thousands does not meet a shell's limit of open files."""

import resource
import subprocess
import sys

_PROGRAM = """
import resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
from controller.open_files import allow_most
print(allow_most(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def test_the_soft_limit_of_open_files_becomes_the_hard_one() -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    found = subprocess.run([sys.executable, "-c", _PROGRAM], check=True, capture_output=True)
    assert found.stdout.split() == [str(hard).encode()] * 3
