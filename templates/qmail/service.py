"""The service type ``qmail``, modelled: its settings (R305 to R307). No box serves it yet."""

from typing import Annotated, Literal

import msgspec

from templates.objects import Spec
from templates.service_type import KnownType
from templates.settings import (
    LOCAL,
    REFERENCE,
    FilerPath,
    FilerServer,
    FilerType,
    FilerVolume,
)


class QmailSettings(Spec, frozen=True):
    """What an operator may set for a mail server."""

    role: Annotated[
        Literal["all", "incoming", "outgoing"],
        msgspec.Meta(
            title="Mail server role",
            description="What the server does in the system.",
            extra={
                "section": "Mail",
                "choices": {
                    "all": "mailboxes, incoming and outgoing mail",
                    "incoming": "mailboxes and incoming mail",
                    "outgoing": "outgoing mail only",
                },
            },
        ),
    ] = "all"
    spamassassin_db_server: Annotated[
        str,
        msgspec.Meta(
            pattern=REFERENCE,
            title="SpamAssassin database server",
            description="The MySQL server that keeps the preferences of SpamAssassin. "
            "LOCAL: the default server.",
            extra={"section": "Mail", "server": "mysql"},
        ),
    ] = LOCAL
    horde_server: Annotated[
        str,
        msgspec.Meta(
            pattern=REFERENCE,
            title="Unix hosting server for Horde",
            description="The web server that hosts the Horde webmail of this mail server. "
            "LOCAL: the default server.",
            extra={"section": "Mail", "server": "web"},
        ),
    ] = LOCAL
    file_server_type: FilerType = ""
    file_server: FilerServer = ""
    file_path: FilerPath = ""
    file_server_volume: FilerVolume = ""


QMAIL = KnownType(
    name="qmail",
    group="mail",
    platforms=frozenset({"linux", "freebsd"}),
    settings=QmailSettings,
    default_port=25,
)
