"""Files that a command line names, read as text."""

from typing import IO

import click

from controller.client.errors import RefusedError

TEXT = click.File("r", encoding="utf-8")
"""The type of an argument that names a file of text; - is stdin."""


def text_of(file: IO[str]) -> str:
    """Give what a file holds; raises `RefusedError` where that is not UTF-8."""
    try:
        return file.read()
    except UnicodeDecodeError as error:
        raise RefusedError(
            f"refused: {file.name}: not text in UTF-8; allowed: "
            "UTF-8, as made by iconv -f iso-8859-1 -t utf-8"
        ) from error
