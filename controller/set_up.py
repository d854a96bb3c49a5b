"""Setting a controller up: its directories, CA, keys, database and first operator."""

import os
import pwd
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from controller.cluster.initialisation import initialise
from controller.config import ControllerConfig
from controller.identity import Identity, make_authority
from controller.storage.embedded import EmbeddedPostgres
from controller.storage.migrations import migrate
from controller.storage.secrets import Secrets


@contextmanager
def database_of(config: ControllerConfig) -> Iterator[str]:
    """Give the owner's connection string, as `server_of` does."""
    with server_of(config) as (url, _):
        yield url


@contextmanager
def server_of(config: ControllerConfig) -> Iterator[tuple[str, EmbeddedPostgres | None]]:
    """Give the owner's connection string and the embedded server, where the database is one.

    It runs at least as long as this. A server that already runs (the controller's, or a
    supervisor's) is used and left running.
    Raises PermissionError where the state is another user's: see `refuse_other_user`.
    """
    refuse_other_user(config)
    if not config.embedded:
        yield config.database, None
        return
    server = EmbeddedPostgres(config.state, config.postgres_binaries)
    ours = server.pid is None
    url = server.start()
    try:
        yield url, server
    finally:
        if ours:
            server.stop()


def refuse_other_user(config: ControllerConfig) -> None:
    """Refuse to work as root, or anybody, in a state directory that is another user's.

    What root leaves there the controller could neither read nor replace. Raises PermissionError.
    """
    try:
        owner = config.state.stat().st_uid
    except FileNotFoundError:
        return
    if owner != os.geteuid():
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = str(owner)
        raise PermissionError(
            f"{config.state} belongs to the user {name}: run this as that user, as in"
            f" `runuser -u {name} -- ...`"
        )


def make_keys(config: ControllerConfig) -> None:
    """Make directories, CA, own certificate and the key of secrets, where they are missing.

    Raises PermissionError where the state is another user's.
    """
    refuse_other_user(config)
    # Others may pass through: the embedded server, as a user of its own, has its data below. What
    # is private is private by its own mode.
    config.state.mkdir(mode=0o711, parents=True, exist_ok=True)
    make_authority(config)
    Identity.load(config)
    if not config.secrets_key.exists():
        Secrets.create(config.secrets_key)


def make_database(config: ControllerConfig, owner_url: str) -> int:
    """Bring the schema up and name the cluster; give the schema's number."""
    schema = migrate(owner_url)
    initialise(owner_url, config.service_domain)
    return schema


def new_password() -> str:
    """Draw a password that can be read aloud: four groups, about 95 bits."""
    letters = "abcdefghijkmnpqrstuvwxyz23456789"
    groups = ("".join(secrets.choice(letters) for _ in range(5)) for _ in range(4))
    return "-".join(groups)
