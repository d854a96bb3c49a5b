"""What an Apache logical server must serve: its own configuration and its sites."""

from typing import Annotated

import msgspec

from templates.apache.names import MAILBOX
from templates.objects import ObjectKind, Spec
from templates.service_type import Endpoint


class ApacheSettings(Spec, frozen=True):
    """What an operator may set for an Apache logical server."""

    server_admin: Annotated[str, msgspec.Meta(pattern=rf"^({MAILBOX})?$(?!\n)")] = ""
    """Mail address shown on error pages; empty shows none."""
    timeout: Annotated[int, msgspec.Meta(ge=5, le=3600)] = 60
    """Seconds that a client may take."""
    max_request_workers: Annotated[int, msgspec.Meta(ge=10, le=20000)] = 150
    tls_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    """Port for TLS on the server's addresses; 0 means none."""


class Certificate(Spec, frozen=True):
    """A certificate chain, leaf first, and its private key, PEM."""

    chain: str
    key: str


class ServerSpec(Spec, frozen=True):
    """The logical server itself."""

    name: str
    endpoints: tuple[Endpoint, ...]
    settings: ApacheSettings
    fallback: Certificate | None = None
    """What names without a certificate of their own present, unknown ones too. It names no customer
    (self-signed does). Required where ``settings.tls_port`` is set."""


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
    if spec.settings is None and spec.certificate is None:
        return f"site:{key}"
    return f"account:{spec.account}"


SERVER = ObjectKind("server", 1, ServerSpec, lambda key, spec: "server")
SITE = ObjectKind("site", 1, SiteSpec, site_unit)
