"""The service type ``mysql``, modelled: its settings (R312, R313). No box serves it yet."""

from typing import Annotated

import msgspec

from templates.objects import Spec
from templates.service_type import KnownType
from templates.settings import LOCAL, REFERENCE


class MysqlSettings(Spec, frozen=True):
    """What an operator may set for a MySQL server."""

    phpmyadmin_server: Annotated[
        str,
        msgspec.Meta(
            pattern=REFERENCE,
            title="Server for phpMyAdmin",
            description="The web server that hosts the customers' phpMyAdmin. "
            "LOCAL: the default server.",
            extra={"section": "Databases", "server": "web"},
        ),
    ] = LOCAL
    remote_access: Annotated[
        bool,
        msgspec.Meta(
            title="Remote access",
            description="Customers may reach their databases from outside the cluster.",
            extra={"section": "Databases"},
        ),
    ] = False


MYSQL = KnownType(
    name="mysql",
    group="mysql",
    platforms=frozenset({"linux", "freebsd"}),
    settings=MysqlSettings,
    default_port=3306,
)
