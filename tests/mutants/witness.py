"""A pytest plugin that writes down how each test failed and which source was imported.

It stands alone: `trial` puts it beside the copy of the tree, where nothing of the tree is known.
The file named in ``MUTANT_WITNESS`` gets one JSON document a line.
"""

import json
import os
import sys
from collections.abc import Generator, Iterator
from typing import Any

import pytest


def _write(**fields: Any) -> None:
    with open(os.environ["MUTANT_WITNESS"], "a", encoding="utf-8") as file:
        file.write(json.dumps(fields) + "\n")


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _kinds(error: BaseException) -> list[list[str]]:
    return [[kind.__name__ for kind in type(leaf).__mro__] for leaf in _leaves(error)]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: "pytest.CallInfo[None]"
) -> Generator[None, Any, Any]:
    """Write down a failure with the names of its exceptions' classes, and that a test passed."""
    report = yield
    if report.failed and call.excinfo is not None:
        words = str(call.excinfo.value).strip().partition("\n")[0]
        _write(test=item.nodeid, failed=_kinds(call.excinfo.value), words=words)
    elif report.when == "call" and report.passed:
        _write(test=item.nodeid, passed=True)
    return report


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Write down a module that could not be read."""
    if report.failed:
        words = str(report.longrepr).strip().rpartition("\n")[2]
        _write(unread=report.nodeid, words=words)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write down whence each module of the tree came, and that the run came to its end."""
    tops = {
        path.stem
        for path in session.config.rootpath.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    files = {
        name: module.__file__
        for name, module in sys.modules.items()
        if name.partition(".")[0] in tops and getattr(module, "__file__", None)
    }
    _write(imported=files, ended=int(exitstatus))
