"""The service type ``postgresql``, modelled: its setting (R314). No box serves it yet."""

from typing import Annotated

import msgspec

from templates.objects import Spec
from templates.service_type import KnownType
from templates.settings import LOCAL, REFERENCE


class PostgresqlSettings(Spec, frozen=True):
    """What an operator may set for a PostgreSQL server."""

    phppgadmin_server: Annotated[
        str,
        msgspec.Meta(
            pattern=REFERENCE,
            title="Server for phpPgAdmin",
            description="The web server that hosts the customers' phpPgAdmin. "
            "LOCAL: the box of this server itself.",
            extra={"section": "Databases", "server": "web"},
        ),
    ] = LOCAL


POSTGRESQL = KnownType(
    name="postgresql",
    group="postgresql",
    platforms=frozenset({"linux", "freebsd"}),
    settings=PostgresqlSettings,
    default_port=5432,
)
