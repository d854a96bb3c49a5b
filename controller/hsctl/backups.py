"""``hsctl backup``: database, CA, deny-list and secrets key in one file.

It works on the controller's host, by the controller's configuration and not through the API: a
backup holds every key of the cluster, and a restore is for when no controller runs.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from controller.client.errors import RefusedError
from controller.hsctl.controller_host import chosen_config, config_option, database_at
from controller.hsctl.terminal import print_json, print_record, say
from controller.hsctl.verbs import confirm, output_option


@click.group()
def backup() -> None:
    """Back up and restore a controller, on its own host.

    \b
    hsctl backup create /backup/2026-01-31.hsb
    hsctl backup restore /backup/2026-01-31.hsb
    """


@backup.command()
@click.argument("file", type=click.Path(path_type=Path))
@config_option
@output_option
def create(file: Path, config: Path | None, output: str) -> None:
    """Write a backup to FILE (0600), which must not exist. The controller may be at work.

    It holds every key of the cluster: keep it as you would keep the CA.

    \b
    hsctl backup create /backup/2026-01-31.hsb
    """
    from controller.storage import backup as storage

    with _place(_chosen(config), alone=False) as place:
        manifest = storage.create(place, file)
    _show(manifest, output)
    say(f"written: {file}")


@backup.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@config_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output_option
def restore(file: Path, config: Path | None, yes: bool, output: str) -> None:
    """Put a backup in the place of what is there. No controller may run meanwhile.

    Boxes that have gone further than the backup are held as "ahead": nothing is deleted there.

    \b
    hsctl backup restore /backup/2026-01-31.hsb
    """
    from controller.storage import backup as storage

    path = _chosen(config)
    confirm(f"Replace the database, CA and keys of {path} by {file}?", yes)
    with _place(path, alone=True) as place:
        manifest = storage.restore(place, file)
    _show(manifest, output)
    say("restored: start the controller")


def _chosen(config: Path | None) -> Path:
    path = chosen_config(config)
    say(f"controller: {path}")
    return path


@contextmanager
def _place(path: Path, *, alone: bool) -> Iterator[Any]:
    """Give what is backed up; what a person can do something about is told in one line."""
    import psycopg2

    from controller.config import ConfigError, read_config
    from controller.storage.anchors import FILE, AnchorFile
    from controller.storage.archive import ArchiveError
    from controller.storage.backup import BackupError, Place, server_major
    from controller.storage.binaries import BinariesError, find_binaries, find_clients
    from controller.storage.embedded import EmbeddedPostgresError

    try:
        config = read_config(path)
        with database_at(path, config, alone=alone) as url:
            if config.embedded:
                binaries = find_binaries(config.postgres_binaries)
            else:
                binaries = find_clients(server_major(url), config.postgres_binaries)
            anchors = AnchorFile(config.state / FILE)
            yield Place(url, binaries, config.pki, config.secrets_key, anchors)
    except (
        ArchiveError,
        BackupError,
        BinariesError,
        ConfigError,
        EmbeddedPostgresError,
        OSError,
        psycopg2.OperationalError,
    ) as error:
        raise RefusedError(f"refused: {str(error).strip()}") from error


def _show(manifest: Any, output: str) -> None:
    import msgspec

    plain = msgspec.to_builtins(manifest, enc_hook=str)
    if output == "json":
        print_json(plain)
    else:
        print_record({**plain, "files": ", ".join(sorted(plain["files"]))})
