"""Override files: where an operator's own settings stand. They are read, and never written to.

Below the lane's directory, ``overrides/`` has a folder for each place of the configuration that the
daemon reads them into. The agent makes the folders and puts nothing there, changes nothing there
and removes nothing there, whatever a later version renders. They belong to the checks: what is
broken there is found before the daemon is told to read it.
"""

from pathlib import PurePosixPath

FOLDER = "overrides"


def blamed(words: str, root: PurePosixPath) -> bool:
    """Tell whether a checker's words speak of an override file of the lane in ``root``."""
    return f"{root}/{FOLDER}/" in words
