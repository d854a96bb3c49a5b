"""The ways in which a call can end badly, each with its exit code and one line for a person."""

import click

from controller.client import exit_codes
from controller.printable import clean


class HsctlError(click.ClickException):
    """Ends hsctl with ``exit_code`` and one line on stderr."""

    def show(self, file: object = None) -> None:
        """Print the line, with nothing in it that could steer the terminal."""
        click.echo(f"hsctl: {clean(self.message)}", err=True)


class RefusedError(HsctlError):
    """The controller refused: nothing was written."""

    exit_code = exit_codes.REFUSED


class UsageError(HsctlError):
    """The command line asks for something that cannot be done this way."""

    exit_code = exit_codes.USAGE


class UnreachableError(HsctlError):
    """The controller cannot be reached or fails, or nobody is signed in."""

    exit_code = exit_codes.UNREACHABLE


class ConnectionFailedError(UnreachableError):
    """The connection failed; whether the controller heard the request is not known.

    ``unwritten``: it did, and said that nothing was written.
    """

    def __init__(self, message: str, *, unwritten: bool = False) -> None:
        super().__init__(message)
        self.unwritten = unwritten
