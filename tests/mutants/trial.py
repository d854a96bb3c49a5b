"""Trying a mutant: its tests run on a copy of the tree in which the guard is not there.

The copy is the working directory and the first entry of the import path, so that it comes before
what is installed; the witness tells whence each module was imported. The working tree is only read.
Programs that are started with ``-I``, as the product starts its own, are told no path by tests:
for them there is an environment that has the copy.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import attrs

from tests.mutants.mutant import DoesNotApplyError, Mutant

TREE = Path(__file__).parents[2]
WITNESS = Path(__file__).with_name("witness.py")
NOT_COPIED = (".git", ".venv", "var", "build", "dist", "*.egg-info", ".hypothesis", ".*_cache")
SECONDS = 300
"""A run of a few tests that takes longer hangs: it is ended."""
PATIENCE = 120
"""Seconds that one test may take."""
WAIT = 40
"""Where a mutant makes a test wait for ever: seconds that it is let."""
FAILURES = ("AssertionError", "Failed")
"""A failed assertion; ``Failed`` is pytest's, also for a refusal that did not come."""

Verdict = Literal["killed", "SURVIVED", "broken"]


@attrs.frozen
class Run:
    """What the witness of one run of pytest wrote down."""

    passed: frozenset[str] = frozenset()
    failed: Mapping[str, list[tuple[list[str], str]]] = attrs.Factory(dict)
    """For each test that failed: the classes of the exceptions (and of what they derive from)."""
    unread: str = ""
    imported: Mapping[str, str] = attrs.Factory(dict)
    ended: bool = False
    waited: bool = False
    """Whether pytest-timeout ended a test, and with it the run."""
    output: str = ""


@attrs.frozen
class Result:
    """What became of a mutant, and why, in one line."""

    mutant: Mutant
    verdict: Verdict
    words: str = ""

    @property
    def good(self) -> bool:
        """Whether the guard was seen to be needed."""
        return self.verdict == "killed"


class Copy:
    """A copy of the tree, in which tests are run."""

    def __init__(self, folder: Path, tree: Path) -> None:
        self.tree = folder / "tree"
        self._plugins = folder / "plugins"
        self._witness = folder / "witness.jsonl"
        shutil.copytree(tree, self.tree, ignore=shutil.ignore_patterns(*NOT_COPIED))
        self._plugins.mkdir()
        shutil.copy(WITNESS, self._plugins / "mutant_witness.py")
        self._python = _environment(folder / "environment", self.tree)

    def run(self, tests: Collection[str], *, patience: int = PATIENCE) -> Run:
        """Run these tests on the copy as it is; none may take longer than ``patience`` seconds."""
        self._witness.unlink(missing_ok=True)
        command = [str(self._python), "-m", "pytest", "-q", "-p", "mutant_witness"]
        command += ["-p", "no:randomly", "-p", "no:cacheprovider", "--tb=short"]
        command += [f"--timeout={patience}", *tests]
        environment = {
            **os.environ,
            "PYTHONPATH": f"{self.tree}{os.pathsep}{self._plugins}",
            "MUTANT_WITNESS": str(self._witness),
        }
        try:
            done = subprocess.run(
                command,
                cwd=self.tree,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=SECONDS + 3 * len(tests),
            )
            output = done.stdout + done.stderr
        except subprocess.TimeoutExpired:
            output = "the tests did not end"
        return self._read(output)

    @contextmanager
    def without(self, mutant: Mutant) -> Iterator[None]:
        """Take the guard out, and put it back in."""
        path = self.tree / mutant.file
        source, status = path.read_text(encoding="utf-8"), path.stat()
        path.write_text(mutant.applied(source), encoding="utf-8")
        # What is compiled of it is known by size and time: a guard may be as long as its absence.
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 5_000_000_000))
        try:
            yield
        finally:
            path.write_text(source, encoding="utf-8")
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _read(self, output: str) -> Run:
        passed: set[str] = set()
        failed: dict[str, list[tuple[list[str], str]]] = {}
        unread, imported, ended = "", {}, False
        lines = self._witness.read_text().splitlines() if self._witness.exists() else []
        for line in lines:
            noted: dict[str, Any] = json.loads(line)
            if "failed" in noted:
                kinds = [(leaf, noted["words"]) for leaf in noted["failed"]]
                failed.setdefault(noted["test"], []).extend(kinds)
            elif "passed" in noted:
                passed.add(noted["test"])
            elif "unread" in noted:
                unread = f"{noted['unread']}: {noted['words']}"
            else:
                imported, ended = noted["imported"], noted["ended"] in (0, 1)
        waited = "+ Timeout +" in output
        return Run(frozenset(passed), failed, unread, imported, ended, waited, output)


def _environment(folder: Path, tree: Path) -> Path:
    """Make an environment that finds ``tree`` first, then all that is here; give its Python."""
    venv.create(folder, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder)}))
    here = sysconfig.get_path("purelib")
    (packages / "tree.pth").write_text(f"{tree}\nimport site; site.addsitedir({here!r})\n")
    programs = folder / "bin"
    for program in Path(sys.executable).parent.iterdir():
        if not (programs / program.name).exists():
            (programs / program.name).symlink_to(program)
    return programs / "python"


@contextmanager
def copy_of(tree: Path = TREE) -> Iterator[Copy]:
    """Make a copy of the tree for as long as it is used; daemons of other users may enter it."""
    with tempfile.TemporaryDirectory(prefix="hs-mutants-") as folder:
        Path(folder).chmod(0o755)
        yield Copy(Path(folder), tree)


def unfit(copy: Copy, mutants: Iterable[Mutant]) -> dict[str, str]:
    """Run the tests of all these on the copy as it is: test -> why it says nothing of a mutant."""
    wanted = list(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
    run = copy.run(wanted)
    runs = dict.fromkeys(wanted, run)
    if not (run.passed or run.failed):
        # One that cannot be read, or is not there, keeps pytest from running any.
        runs = {test: copy.run([test]) for test in wanted}
    return {test: why for test, run in runs.items() if (why := _why_unfit(test, run))}


def _why_unfit(test: str, run: Run) -> str:
    if any(_is_of(found, test) for found in run.failed):
        return f"{test} fails with the guard in place"
    if not any(_is_of(found, test) for found in run.passed):
        return f"{test} does not run: {run.unread or _last_line(run.output)}"
    return ""


def tried(copy: Copy, mutant: Mutant) -> Result:
    """Take the guard out, run its tests, and judge what they say."""
    try:
        mutant.applied_to(copy.tree)
    except DoesNotApplyError as error:
        return Result(mutant, "broken", str(error))
    with copy.without(mutant):
        run = copy.run(mutant.tests, patience=WAIT if mutant.waits else PATIENCE)
    return judged(copy.tree, mutant, run)


def judged(tree: Path, mutant: Mutant, run: Run) -> Result:
    """Tell a test that saw the guard missing from one that met a tree that does not run."""
    elsewhere = [name for name, file in run.imported.items() if not Path(file).is_relative_to(tree)]
    if elsewhere:
        return Result(mutant, "broken", f"{elsewhere[0]} was not imported from the mutated copy")
    if run.unread:
        return Result(mutant, "broken", f"could not be read: {run.unread}")
    if run.waited and mutant.waits:
        return Result(mutant, "killed")
    if not run.ended:
        return Result(mutant, "broken", f"the tests did not end: {_last_line(run.output)}")
    for test in mutant.tests:
        failures = [
            failure
            for found, failures in run.failed.items()
            if _is_of(found, test)
            for failure in failures
        ]
        if not failures:
            read = str(tree / mutant.file) in run.imported.values()
            if mutant.file.endswith(".py") and not read:
                return Result(mutant, "broken", f"{test} never imported {mutant.file}")
            return Result(mutant, "SURVIVED", f"{test} passes without the guard")
        for kinds, words in failures:
            if not set(kinds) & {*FAILURES, *mutant.dies_of}:
                return Result(mutant, "broken", f"{test} died of {kinds[0]}: {words}")
    return Result(mutant, "killed")


def _is_of(found: str, test: str) -> bool:
    """Tell whether a test that ran is ``test`` or one of its parameters."""
    return found == test or found.startswith((f"{test}[", f"{test}::"))


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]
