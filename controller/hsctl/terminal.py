"""Text for a terminal: what came from elsewhere is shown, and never obeyed (S8, S13)."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click


def clean(text: str) -> str:
    """Give ``text`` on one line with control and direction characters escaped."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "backslashreplace").decode("ascii")
        for character in text
    )


def cell(value: Any) -> str:
    """Give a value as it stands in a table."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int | float):
        return clean(str(value))
    if isinstance(value, list | tuple) and all(isinstance(part, str | int) for part in value):
        return ", ".join(clean(str(part)) for part in value) or "-"
    return clean(json.dumps(value))


def say(text: str) -> None:
    """Tell a person something beside the answer: on stderr, escaped."""
    click.echo(clean(text), err=True)


def print_json(value: Any) -> None:
    """Print a value for programs: pure ASCII."""
    click.echo(json.dumps(value, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Print rows: a table on a terminal, else a line each, fields apart by a tab."""
    if not sys.stdout.isatty():
        click.echo("\t".join(columns))
        for row in rows:
            click.echo("\t".join(cell(row.get(column)) for column in columns))
        return
    # Late: importing rich takes longer than all that hsctl itself does.
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell(row.get(column))) for column in columns))
    Console().print(table)


def print_record(record: Mapping[str, Any]) -> None:
    """Print one thing, a field on each line; lists of things become tables below."""
    plain = {name: value for name, value in record.items() if not _is_things(value)}
    width = max((len(name) for name in plain), default=0)
    for name, value in plain.items():
        click.echo(f"{name.replace('_', ' '):{width}}  {cell(value)}")
    for name, value in record.items():
        if _is_things(value):
            click.echo(f"\n{name.replace('_', ' ')}:")
            print_table(columns_of(value), value)


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give the fields of some rows in the order of their first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _is_things(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) for part in value)
