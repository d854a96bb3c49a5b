"""Site rows to the desired objects of web servers. Pure."""

from collections.abc import Mapping

import attrs
import msgspec

from templates.apache.objects import Certificate, SiteSettings, SiteSpec


@attrs.frozen
class CertificateText:
    """The references that stand for a site's certificate chain and private key."""

    chain: str
    key: str


@attrs.frozen
class SiteRow:
    """A site as stored, with its domain's name."""

    id: int
    domain: str
    account: int
    logical_server: str
    settings: Mapping[str, object] | None
    www: bool = True
    """Whether ``www.`` before the domain is this site too, and no domain of its own."""
    certificate: CertificateText | None = None
    alias: str = ""
    """A name below the service domain by which the site answers too (R22), or nothing."""


def site_spec(row: SiteRow) -> SiteSpec:
    """Give the site's object. The directory's id stays when the domain is renamed."""
    return SiteSpec(
        account=row.account,
        site=f"s{row.id}",
        aliases=(row.alias,) if row.alias else (),
        www=row.www,
        settings=None
        if row.settings is None
        else msgspec.convert(dict(row.settings), type=SiteSettings),
        certificate=None
        if row.certificate is None
        else Certificate(chain=row.certificate.chain, key=row.certificate.key),
    )
