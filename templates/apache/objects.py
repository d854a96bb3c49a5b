"""What an Apache logical server must serve: its own configuration and its sites."""

from typing import Annotated, Literal

import msgspec

from templates.apache.names import MAILBOX
from templates.objects import Disturbance, ObjectKind, Spec
from templates.service_type import RELOAD_REST, Endpoint
from templates.settings import (
    ADDRESS,
    LOCAL,
    PATH,
    REFERENCE,
    DriftPolicy,
    FilerPath,
    FilerServer,
    FilerType,
    FilerVolume,
    MivaVersion,
    ProhibitDedicatedIp,
)


class ApacheSettings(Spec, frozen=True, omit_defaults=True):
    """What an operator may set that the daemon's configuration shows.

    A setting at its default is not sent: a box whose agent does not know it yet stays of use.
    """

    server_admin: Annotated[
        str,
        msgspec.Meta(
            pattern=rf"^({MAILBOX})?$(?!\n)",
            title="Mail address of the administrator",
            description="Shown on error pages; empty shows none.",
        ),
    ] = ""
    timeout: Annotated[
        int,
        msgspec.Meta(ge=5, le=3600, title="Timeout", description="Seconds that a client may take."),
    ] = 60
    max_request_workers: Annotated[
        int,
        msgspec.Meta(
            ge=10,
            le=20000,
            title="Workers",
            description="How many requests are answered at one time.",
        ),
    ] = 150
    tls_port: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=65535,
            title="TLS port",
            description="Port for TLS on the server's addresses; 0 means none.",
        ),
    ] = 0
    reload_rest: Annotated[
        int,
        msgspec.Meta(
            ge=0,
            le=3600,
            title="Rest between reloads",
            description="Seconds between graceful reloads for changes of sites, once a few came "
            "right after each other: all changes of that time take one reload. 0: no rest.",
        ),
    ] = RELOAD_REST
    miva: MivaVersion = "none"
    home_root: Annotated[
        str,
        msgspec.Meta(
            pattern=PATH,
            title="Unix user home directory",
            description="Where the home directories of customers begin, such as /home; "
            "empty: the box's own place.",
            extra={"section": "Web hosting"},
        ),
    ] = ""
    webshell: Annotated[
        Literal["none", "webshell4", "webshell5"],
        msgspec.Meta(
            title="Webshell",
            description="The file manager of customers.",
            extra={
                "section": "Web hosting",
                "choices": {
                    "none": "not offered",
                    "webshell4": "Webshell4",
                    "webshell5": "Webshell5 (CGI mode)",
                },
            },
        ),
    ] = "none"


class ApacheOptions(ApacheSettings, frozen=True):
    """All that an operator may set: what follows is for the model alone (R293 to R296, R317)."""

    drift: DriftPolicy = "report"
    prohibit_dedicated_ip: ProhibitDedicatedIp = False
    horde_db_server: Annotated[
        str,
        msgspec.Meta(
            pattern=REFERENCE,
            title="External Horde DB server",
            description="The MySQL server that keeps the data of the Horde webmail. "
            "LOCAL: the default server.",
            extra={"section": "Web hosting", "server": "mysql"},
        ),
    ] = LOCAL
    rsync_ips: Annotated[
        tuple[Annotated[str, msgspec.Meta(pattern=ADDRESS)], ...],
        msgspec.Meta(
            max_length=32,
            title="Outgoing rsync IP",
            description="IP addresses, with commas between, that rsync connects from; "
            "empty: the shared IP of the server.",
            extra={"section": "Web hosting", "addresses": True},
        ),
    ] = ()
    file_server_type: FilerType = ""
    file_server: FilerServer = ""
    file_path: FilerPath = ""
    file_server_volume: FilerVolume = ""


class Certificate(Spec, frozen=True):
    """A certificate chain, leaf first, and its private key, PEM."""

    chain: str
    key: str


class SharedCertificate(Spec, frozen=True):
    """A certificate for every name directly below ``domain``, of whichever customer (R277)."""

    domain: str
    certificate: Certificate


class ServerSpec(Spec, frozen=True):
    """The logical server itself."""

    name: str
    endpoints: tuple[Endpoint, ...]
    settings: ApacheSettings
    fallback: Certificate | None = None
    """What names without a certificate of their own present, unknown ones too. It names no customer
    (self-signed does). Required where ``settings.tls_port`` is set."""
    shared: tuple[SharedCertificate, ...] | msgspec.UnsetType = msgspec.UNSET
    """Presented for names below their domains that have no certificate of their own. Not sent where
    there is none: a box whose agent does not know it yet stays of use."""


class AddressSpec(Spec, frozen=True):
    """A dedicated address that a site has; its key is the address as text, in its shortest form."""

    prefix: int
    """Length of the network's mask in bits."""
    port: int
    """The port of plain HTTP, one of those of the server's endpoints."""


class SiteSettings(Spec, frozen=True):
    """Settings of one site that differ from the server's; any makes it a vhost of its own."""

    index: tuple[str, ...] = ()
    """Names of index documents, in order; empty means the server's."""
    redirect_to: str = ""
    """An http or https URL that every request is sent to; empty means none."""
    indexes: bool = False
    """Show a listing of a directory without an index document."""


class SiteSpec(Spec, frozen=True):
    """One web site; its key is the domain name (A-label form)."""

    account: int
    """Id of the account: sites with own settings share one file for each account."""
    site: str
    """Stable id of the site's directory; survives a change of the domain name."""
    aliases: tuple[str, ...] = ()
    www: bool = True
    """Answer at ``www.`` before the domain too; False where that name is a site of its own."""
    settings: SiteSettings | None = None
    certificate: Certificate | None = None


def site_unit(key: str, spec: SiteSpec) -> str:
    """Plain sites stand alone; sites with own settings are planned with their account's others."""
    return f"account:{spec.account}" if stands_apart(spec) else f"site:{key}"


def stands_apart(spec: SiteSpec | None) -> bool:
    """Tell whether a site has a virtual host of its own, in the file of its account."""
    return spec is not None and (spec.settings is not None or spec.certificate is not None)


def _site_disturbs(before: SiteSpec | None, after: SiteSpec | None) -> Disturbance:
    """Links of plain sites are followed as they are; a virtual host is read by a reload."""
    return "reload" if stands_apart(before) or stands_apart(after) else "nothing"


SERVER = ObjectKind(
    "server",
    1,
    ServerSpec,
    lambda key, spec: "server",
    lambda before, after: "nothing" if after is None else "reload",
)
DEDICATED = ObjectKind(
    "address", 1, AddressSpec, lambda key, spec: f"address:{key}", lambda before, after: "reload"
)
SITE = ObjectKind("site", 1, SiteSpec, site_unit, _site_disturbs)
