"""The registry of guards speaks of this source, and its runner tells a test that sees from one that
does not.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import attrs
import pytest

from tests.mutants.__main__ import main
from tests.mutants.guards import MUTANTS
from tests.mutants.mutant import DoesNotApplyError, Mutant
from tests.mutants.trial import TREE, Copy, Result, Run, copy_of, judged, tried, unfit

# --- the registry ---


@cache
def functions_of(file: str) -> frozenset[str]:
    """Give the names of a module's test functions."""
    tree = ast.parse((TREE / file).read_text(encoding="utf-8"))
    return frozenset(
        node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def test_every_mutant_applies_to_the_source_and_reads_as_a_source() -> None:
    for mutant in MUTANTS:
        without = mutant.applied_to(TREE)
        if mutant.file.endswith(".py"):
            compile(without, mutant.file, "exec")


def test_every_mutant_names_tests_that_exist() -> None:
    for mutant in MUTANTS:
        assert mutant.tests, mutant.name
        for test in mutant.tests:
            file, _, function = test.partition("::")
            assert function.partition("[")[0] in functions_of(file), test


def test_names_are_unique_and_numbers_are_numbers() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    for mutant in MUTANTS:
        assert re.fullmatch(r"[a-z]+\.[a-z0-9-]+", mutant.name)
        assert re.fullmatch(r"S([1-9]|[12][0-9]|3[0-8])|P([1-9]|10)", mutant.number)


def test_every_security_module_has_a_mutant_that_it_kills() -> None:
    modules = sorted((TREE / "tests" / "security").glob("test_s*.py"))
    covered = {test.partition("::")[0] for mutant in MUTANTS for test in mutant.tests}
    missing = [path.name for path in modules if str(path.relative_to(TREE)) not in covered]
    assert missing == []
    numbers = {int(path.name[6:8]) for path in modules}
    assert {f"S{number}" for number in numbers} <= {mutant.number for mutant in MUTANTS}


# --- the runner, on a tree of two files ---

GUARDED = """
def may_enter(name: str) -> bool:
    'Tell who may.'
    if name != "ada":
        return False
    return True
"""
TESTS = """
import pytest

from door import may_enter


@pytest.mark.parametrize("name", ["eve", "Ada"])
def test_nobody_else_may(name):
    assert not may_enter(name)


def test_ada_may():
    assert may_enter("ada")


def test_that_fails_anyway():
    assert may_enter("eve")
"""
GUARD = '    if name != "ada":\n        return False\n'


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    tree = tmp_path_factory.mktemp("tree")
    (tree / "door.py").write_text(GUARDED)
    (tree / "test_door.py").write_text(TESTS)
    with copy_of(tree) as made:
        yield made


def a_mutant(without: str, *tests: str, guard: str = GUARD) -> Mutant:
    ids = tuple(f"test_door.py::{test}" for test in tests)
    return Mutant("door.name", "S1", "door.py", guard, without, ids)


KILLED = a_mutant("", "test_nobody_else_may")


def test_a_guard_that_is_needed_is_killed_without(copy: Copy) -> None:
    assert unfit(copy, [KILLED]) == {}
    before = (copy.tree / "door.py").read_text()
    result = tried(copy, KILLED)
    assert (result.verdict, result.good) == ("killed", True), result
    assert (copy.tree / "door.py").read_text() == before


def test_a_useless_mutant_is_reported_as_survived(copy: Copy) -> None:
    result = tried(copy, a_mutant("Say who may.", "test_nobody_else_may", guard="Tell who may."))
    assert (result.verdict, result.good) == ("SURVIVED", False)
    assert "test_nobody_else_may passes without the guard" in result.words


@pytest.mark.parametrize(
    ("without", "words"),
    [
        ("    import no_such_module\n", "died of ModuleNotFoundError"),
        ("    if (\n", "could not be read"),
    ],
)
def test_a_tree_that_does_not_run_proves_nothing(copy: Copy, without: str, words: str) -> None:
    result = tried(copy, a_mutant(without, "test_nobody_else_may"))
    assert (result.verdict, result.good) == ("broken", False)
    assert words in result.words


def judge(run: Run, **changes: object) -> Result:
    return judged(Path("/copy"), attrs.evolve(KILLED, **changes), run)


def failed_by(*kinds: str, test: str = "test_door.py::test_nobody_else_may[eve]") -> Run:
    return Run(failed={test: [([*kinds, "Exception"], "words")]}, ended=True)


def test_only_an_assertion_or_a_missing_refusal_kills() -> None:
    assert judge(failed_by("AssertionError")).good
    assert judge(failed_by("Failed")).good  # pytest's own: the refusal did not come
    for kind in ("NameError", "AttributeError", "ImportError", "KeyError"):
        result = judge(failed_by(kind, "LookupError"))
        assert (result.verdict, f"died of {kind}" in result.words) == ("broken", True)
    assert judge(failed_by("KeyError", "LookupError"), dies_of=("LookupError",)).good


def test_each_of_its_tests_must_fail() -> None:
    tests = (*KILLED.tests, "test_door.py::test_ada_may")
    result = judge(
        attrs.evolve(failed_by("AssertionError"), imported={"door": "/copy/door.py"}), tests=tests
    )
    assert result.verdict == "SURVIVED"
    assert "test_ada_may" in result.words


def test_a_run_without_an_end_or_without_the_mutant_proves_nothing() -> None:
    assert judge(attrs.evolve(failed_by("Failed"), ended=False)).verdict == "broken"
    never = judge(Run(ended=True))
    assert (never.verdict, "never imported door.py" in never.words) == ("broken", True)
    waits = attrs.evolve(Run(), waited=True)
    assert judge(waits).verdict == "broken"
    assert judge(waits, waits=True).good
    elsewhere = judge(attrs.evolve(failed_by("Failed"), imported={"door": "/usr/lib/door.py"}))
    assert (elsewhere.verdict, "not imported from" in elsewhere.words) == ("broken", True)


def test_a_guard_that_is_not_there_is_broken(copy: Copy) -> None:
    result = tried(copy, a_mutant("", "test_ada_may", guard="if nobody asks:"))
    assert result.verdict == "broken"
    assert "0 times" in result.words
    with pytest.raises(DoesNotApplyError, match=r"no such\.py"):
        attrs.evolve(KILLED, file="such.py").applied_to(copy.tree)


def test_tests_that_fail_or_do_not_run_with_the_guard_are_told(copy: Copy) -> None:
    wanted = ("test_that_fails_anyway", "test_nowhere", "test_ada_may")
    faults = unfit(copy, [a_mutant("", *wanted)])
    assert set(faults) == {"test_door.py::test_that_fails_anyway", "test_door.py::test_nowhere"}
    assert "with the guard in place" in faults["test_door.py::test_that_fails_anyway"]
    assert "does not run" in faults["test_door.py::test_nowhere"]


def test_a_module_from_elsewhere_is_told(copy: Copy, tmp_path: Path) -> None:
    """What is installed beside the tree must not be taken for the copy."""
    other = tmp_path / "other"
    other.mkdir()
    (other / "door.py").write_text("def may_enter(name): return False\n")
    lines = f"import sys\nsys.path.insert(0, {str(other)!r})\n"
    mutant = Mutant(
        "door.elsewhere",
        "S1",
        "test_door.py",
        "import pytest\n\nfrom door",
        f"{lines}import pytest\n\nfrom door",
        ("test_door.py::test_ada_may",),
    )
    result = tried(copy, mutant)
    assert result.verdict == "broken"
    assert "door was not imported from the mutated copy" in result.words


def test_the_program_lists_and_refuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list", "S6", "wire.*"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in listed} >= {"S6", "S8"}
    assert len(listed) == sum(it.number == "S6" or it.name[:5] == "wire." for it in MUTANTS)
    with pytest.raises(SystemExit) as ended:
        main(["no.such"])
    assert ended.value.code == 2
