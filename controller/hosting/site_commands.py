"""The settings and certificate of a site: the commands ``site.show`` and ``site.set``."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import attrs
import msgspec

from controller import names
from controller.changes import secret_field
from controller.commands import Command, Work
from controller.hosting.certificates import checked_pair
from controller.hosting.record_commands import zone_name
from controller.hosting.sites import Site, load_site, project_site, site_shown
from controller.hosting.zones import unknown_domain
from controller.projection.stored import drop_secrets
from controller.refusal import CommandError
from controller.storage.database import Transaction
from controller.storage.secrets import Secrets
from templates.apache.objects import SiteSettings

_INDEX = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_URL = re.compile(r"https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~!$&()*+,=:@/-]*)?")


@attrs.frozen
class NamedSite:
    """The site of a domain."""

    name: str


@attrs.frozen
class SetSite:
    """What to change; None leaves a setting as it is.

    ``plain`` takes all settings back to the server's own. ``certificate`` is a PEM chain and
    ``key`` its PEM private key; an empty ``certificate`` takes the present one away.
    """

    name: str
    index: tuple[str, ...] | None = None
    redirect_to: str | None = None
    indexes: bool | None = None
    plain: bool = False
    certificate: str | None = None
    key: str | None = secret_field(default=None)


def checked_index(given: tuple[str, ...]) -> tuple[str, ...]:
    """Check names of index documents; raises `CommandError` ``site.index.invalid``."""
    for name in given:
        if not _INDEX.fullmatch(name):
            raise CommandError(
                "site.index.invalid",
                "not the name of an index document",
                field="index",
                value=name,
                allowed="names of files such as index.html, without a path",
            )
    return given


def checked_redirect(url: str) -> str:
    """Check a URL that requests are sent to; raises `CommandError` ``site.redirect.invalid``.

    User information, queries, fragments, quotes and control characters have no place in it (S17).
    """
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        fits = bool(_URL.fullmatch(url)) and len(url) <= 2000 and port != 0
        if fits and not host.replace(".", "").isdigit() and ":" not in host:
            names.domain_name(host)
    except (ValueError, CommandError):
        fits = False
    if not fits:
        raise CommandError(
            "site.redirect.invalid",
            "not a URL to redirect to",
            field="redirect_to",
            value=url,
            allowed="http:// or https://, a host, and a plain path; empty for none",
        )
    return url


@attrs.frozen
class Sites:
    """The commands on sites; ``clock`` gives seconds since the epoch."""

    clock: Callable[[], float]
    secrets: Secrets

    async def show(self, work: Work, request: NamedSite) -> dict[str, Any]:
        """Show a site with its settings."""
        return site_shown(await self._find(work.tx, request.name))

    async def set(self, work: Work, request: SetSite) -> dict[str, Any]:
        """Change a site's settings or certificate."""
        site = await self._find(work.tx, request.name)
        await work.tx.row("SELECT 1 FROM site WHERE id = %s FOR UPDATE", (site.row.id,))
        site = await self._find(work.tx, request.name)
        settings = _settings(site, request)
        certificate = await self._certificate(work.tx, site, request)
        await work.tx.run(
            """UPDATE site SET settings = %s::jsonb, version = version + 1,
                      certificate_id = CASE WHEN %s THEN certificate_id ELSE %s END
               WHERE id = %s""",
            (
                None if settings is None else msgspec.json.encode(settings).decode(),
                request.certificate is None,
                certificate,
                site.row.id,
            ),
        )
        after = await self._find(work.tx, request.name)
        if after.row != site.row:
            work.change.row("site", site.row.domain, site_shown(site), site_shown(after))
        await project_site(work, after)
        return site_shown(after)

    async def _certificate(self, tx: Transaction, site: Site, request: SetSite) -> int | None:
        """Keep a new certificate and key as secrets; give the id of the key's."""
        if request.certificate is None:
            return None
        prefix = f"site:{site.row.id}"
        if request.certificate == "":
            await drop_secrets(tx, prefix)
            return None
        now = datetime.fromtimestamp(self.clock(), UTC)
        chain, key = checked_pair(request.certificate, request.key or "", site.row.domain, now)
        await drop_secrets(tx, prefix)
        owner = site.row.account
        await self.secrets.store(tx, chain, owner_id=owner, name=f"{prefix}:chain")
        kept = await self.secrets.store(tx, key, owner_id=owner, name=f"{prefix}:key")
        return kept.id

    async def _find(self, tx: Transaction, name: str) -> Site:
        site = await load_site(tx, zone_name(name, field="name"))
        if site is None:
            raise unknown_domain(name, field="name")
        return site

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "site.show",
                "GET",
                "/domains/{name}/site",
                NamedSite,
                "account.read",
                "Show the site of a domain",
                self.show,
            ),
            Command(
                "site.set",
                "PATCH",
                "/domains/{name}/site",
                SetSite,
                "account.write",
                "Change the settings or the certificate of a site",
                self.set,
            ),
        )


def _settings(site: Site, request: SetSite) -> dict[str, Any] | None:
    """Give the site's settings after the request, None for a plain site."""
    present: dict[str, Any] = {} if request.plain else dict(site.row.settings or {})
    if request.index is not None:
        present["index"] = list(checked_index(request.index))
    if request.redirect_to is not None:
        present["redirect_to"] = checked_redirect(request.redirect_to)
    if request.indexes is not None:
        present["indexes"] = request.indexes
    settings = msgspec.convert(present, type=SiteSettings)
    return None if settings == SiteSettings() else msgspec.to_builtins(settings)
