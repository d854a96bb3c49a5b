"""A file by which the box's owner decides: TOML that nobody else may write."""

import os
import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

RecordT = TypeVar("RecordT", bound=msgspec.Struct)


class ConfigError(Exception):
    """The file cannot be used; ``args[0]`` names it, the field and what to do."""


def read_owned(path: Path, kind: type[RecordT]) -> RecordT:
    """Read ``path`` as ``kind``; raises `ConfigError`.

    A file that others may write is refused: it decides what is run and touched here (S12).
    """
    try:
        status = path.stat()
        record = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), kind)
    except RecursionError as error:
        raise ConfigError(f"{path}: nested too deeply") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if status.st_mode & 0o022 or status.st_uid not in (0, os.geteuid()):
        raise ConfigError(f"{path} may be written by others: chown it to yourself, chmod go-w")
    return record
