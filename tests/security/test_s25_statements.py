"""S25: every statement is written in the source; what comes from outside is a parameter.

Cases: ISPConfig CVE-2021-3021, CVE-2015-4118; Plesk CVE-2026-58046; Hestia GHSA-8w7m.
"""

import ast
from pathlib import Path

import pytest

CONTROLLER = Path(__file__).parents[2] / "controller"
_RUNS = {"rows", "row", "maybe", "run", "execute", "executemany", "runQuery", "runOperation"}


def is_written(node: ast.expr) -> bool:
    """Tell whether a statement's text comes from the source alone.

    Besides literals: names in capitals, which are constants of the module, also inside f-strings,
    and choices and sums of such.
    """
    match node:
        case ast.Constant(value=str()):
            return True
        case ast.Name(id=name):
            return name.lstrip("_").isupper() or name.replace("_", "").isupper()
        case ast.JoinedStr(values=values):
            return all(
                is_written(value.value) if isinstance(value, ast.FormattedValue) else True
                for value in values
            )
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return is_written(left) and is_written(right)
        case ast.IfExp(body=body, orelse=other):
            return is_written(body) and is_written(other)
    return False


def statements(tree: ast.AST) -> list[tuple[int, ast.expr]]:
    """Give the first argument of every call that may run a statement."""
    return [
        (node.lineno, node.args[0])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _RUNS
        and node.args
        and not is_no_statement(node)
    ]


def is_no_statement(node: ast.Call) -> bool:
    """Tell ``tx.run(...)`` from other things that run: commands, threads, turns, the reactor.

    ``change.row(...)`` notes a row of the model.
    """
    assert isinstance(node.func, ast.Attribute)
    owner = ast.unparse(node.func.value)
    if node.func.attr == "row" and owner.endswith("change"):
        return True
    return node.func.attr == "run" and not owner.endswith("tx")


PATHS = sorted(path for path in CONTROLLER.rglob("*.py"))

NAMED = {
    ("hosting/zones.py", "sql"),
    ("hosting/zone_mover.py", "f'{_MOVING} WHERE {which} ORDER BY m.move_id, m.zone_id LIMIT %s'"),
    (
        "cluster/addresses/ip_addresses.py",
        "f\"{LIST} WHERE {' AND '.join(where)} ORDER BY i.id LIMIT %s\"",
    ),
    (
        "cluster/change_log.py",
        "f\"{_LIST} WHERE {' AND '.join((condition for condition, _ in given))}"
        ' ORDER BY id DESC LIMIT %s"',
    ),
}
"""What is put together of literals of the same module alone, looked at by eye."""

REVIEWED = {
    # What these run is put together by psycopg2.sql, or is read from our own migration files.
    "storage/roles.py",
    "storage/embedded.py",
    "storage/backup.py",
    "storage/database.py",
    "storage/link.py",
    "storage/listener.py",
    "storage/migrations.py",
}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: str(path.relative_to(CONTROLLER)))
def test_statements_are_written_in_the_source(path: Path) -> None:
    if str(path.relative_to(CONTROLLER)) in REVIEWED:
        return
    tree = ast.parse(path.read_text())
    for line, statement in statements(tree):
        if (str(path.relative_to(CONTROLLER)), ast.unparse(statement)) in NAMED:
            continue
        assert is_written(statement), f"{path}:{line}: {ast.unparse(statement)}"


def test_the_panel_holds_no_statement() -> None:
    for path in (CONTROLLER / "web" / "panel").rglob("*.py"):
        tree = ast.parse(path.read_text())
        assert statements(tree) == [], path


@pytest.mark.parametrize(
    "text",
    [
        'tx.rows(f"SELECT {name}")',
        'tx.rows("SELECT " + name)',
        'tx.rows("SELECT %s" % name)',
        'tx.rows("SELECT {}".format(name))',
        "work.tx.run(sql)",
        'tx.rows(f"{_LIST} ORDER BY {request.order}")',
    ],
)
def test_the_check_finds_a_statement_made_of_a_value(text: str) -> None:
    (found,) = statements(ast.parse(text))
    assert not is_written(found[1])
