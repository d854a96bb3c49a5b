"""Text for a terminal: what came from elsewhere is shown, and never obeyed (S8, S13)."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TextIO

import click

from controller.printable import clean

_TIMES = ("_at", "_ends")
_TIME_NAMES = frozenset(("at", "since"))


def cell(value: Any) -> str:
    """Give a value in words: never as JSON, which is what ``-o json`` is for."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str | int | float):
        return clean(str(value))
    if isinstance(value, Mapping):
        parts = (f"{_title(str(name))} {cell(part)}" for name, part in value.items())
        return ", ".join(clean(part) for part in parts) or "-"
    if isinstance(value, list | tuple):
        apart = "; " if any(isinstance(part, Mapping) for part in value) else ", "
        return apart.join(cell(part) for part in value) or "-"
    return clean(json.dumps(value))


def field(name: str, value: Any, *, for_a_person: bool) -> str:
    """Give the value of a field: for a person, a moment in the time of where he is."""
    if for_a_person and isinstance(value, str) and is_moment(name):
        return moment(value)
    return cell(value)


def is_moment(name: str) -> bool:
    """Whether a field of this name holds a moment."""
    return name in _TIME_NAMES or name.endswith(_TIMES)


def moment(text: str) -> str:
    """Give a moment (ISO 8601) in local time to the second; what is none stays as it is."""
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return clean(text)


def paint(text: str, colour: str | None = None, *, bold: bool = False) -> str:
    """Colour ``text``; printing it elsewhere than on a terminal takes the colour away."""
    return click.style(text, fg=colour, bold=bold or None)


def write(text: str, *, err: bool = False) -> None:
    """Print what is painted and cleaned already; plain where NO_COLOR asks for it."""
    click.echo(text, err=err, color=False if os.environ.get("NO_COLOR") else None)


def mark(name: str, stream: TextIO | None = None) -> str:
    """Give the sign for ``good``, ``bad``, ``moving`` or ``stuck``, in letters if need be."""
    signs = _SIGNS[name]
    try:
        signs[0].encode((stream or sys.stdout).encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return signs[1]
    return signs[0]


_SIGNS = {
    "good": ("✓", "+"),
    "bad": ("✗", "x"),
    "moving": ("…", "."),
    "stuck": ("?", "?"),
}


def say(text: str) -> None:
    """Tell a person something beside the answer: on stderr, escaped."""
    click.echo(clean(text), err=True)


def warn(text: str) -> None:
    """Tell a person what may go wrong, beside the answer."""
    write(f"{paint('warning', 'yellow')}: {clean(text)}", err=True)


def told(tell: Callable[[], int]) -> int:
    """Tell of a change that is made, also where nobody takes the words; give the exit code.

    A reader that went away (``hsctl ... | head -1``) or a full disk must not make a refusal of it.
    ``tell`` writes its answer on stdout before it says anything on stderr: it is not told twice.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            return tell()
        except OSError:
            lead_nowhere(stream)
    return tell()


def lead_nowhere(stream: TextIO) -> None:
    """Throw away what is written to a stream from here on, and what its buffer still holds."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


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
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(_title(column), overflow="fold", no_wrap=is_moment(column))
    for row in rows:
        table.add_row(
            *(Text(field(column, row.get(column), for_a_person=True)) for column in columns)
        )
    Console(highlight=False).print(table)


def print_record(record: Mapping[str, Any]) -> None:
    """Print one thing, a field on each line; lists of things become tables below."""
    on_a_terminal = sys.stdout.isatty()
    plain = {name: value for name, value in record.items() if not _is_things(value)}
    width = max((len(name) for name in plain), default=0)
    for name, value in plain.items():
        title = paint(f"{_title(name):{width}}", bold=True)
        write(f"{title}  {field(name, value, for_a_person=on_a_terminal)}")
    first = not plain
    for name, value in record.items():
        if _is_things(value):
            write(f"{'' if first else chr(10)}{paint(_title(name), bold=True)}:")
            print_table(columns_of(value), value)
            first = False


def columns_of(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Give the fields of some rows in the order of their first appearance."""
    return list(dict.fromkeys(name for row in rows for name in row))


def _title(name: str) -> str:
    return clean(name.replace("_", " "))


def _is_things(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) for part in value)
