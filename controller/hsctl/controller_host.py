"""What hsctl does on the controller's own host: find the controller's configuration and database.

The API is not asked here: these verbs are for when no controller runs, too.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from controller.client.errors import RefusedError
from controller.client.profiles import chosen, load
from controller.hsctl.verbs import session

if TYPE_CHECKING:
    from controller.config import ControllerConfig

CONFIG_FILE = Path("/etc/heliosphere/controller.toml")

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="HS_CONTROLLER_CONFIG",
    help=f"The controller's configuration.  [default: that of --profile, {CONFIG_FILE}, or that of"
    " the default profile]",
)


def chosen_config(given: Path | None, installed: Path = CONFIG_FILE) -> Path:
    """Choose the configuration file: the one given, or that of a controller on this host.

    A profile that `hsctl local up` wrote knows its controller's file. A profile that was asked for
    goes before the host's own controller, the default profile comes after it: a toy cluster must
    not be taken for the real one. Raises `RefusedError`, `UnreachableError`.
    """
    if given is not None:
        return given
    asked = session().profile_name or os.environ.get("HSCTL_PROFILE")
    if not asked and (installed.exists() or not load().default):
        return installed
    profile = chosen(asked)
    if not profile.config:
        raise RefusedError(
            f"the controller of the profile {profile.name} is not known to run on this host:"
            " say --config FILE there"
        )
    return Path(profile.config)


@contextmanager
def database_at(path: Path, config: "ControllerConfig", *, alone: bool) -> Iterator[str]:
    """Give the owner's connection string while the database runs; it is started if need be.

    The database of a local cluster is its supervisor's: with ``alone`` the cluster must be down.
    Raises `RefusedError` if it is not.
    """
    from controller.local.layout import Layout
    from controller.local.supervisor import AlreadyRunningError, Lock, running
    from controller.set_up import database_of
    from controller.storage.embedded import EmbeddedPostgres

    layout = Layout(path.absolute().parent.parent)
    is_local = layout.controller_config == path.absolute() and layout.plan.exists()
    if not is_local or (not alone and running(layout) is not None):
        with database_of(config) as url:
            yield url
        return
    try:
        with Lock(layout.lock):
            server = EmbeddedPostgres(layout.postgres, config.postgres_binaries)
            try:
                yield server.start()
            finally:
                server.stop()
    except AlreadyRunningError as error:
        raise RefusedError(
            f"the cluster is up: stop it first with hsctl local down --dir {layout.root}"
        ) from error
