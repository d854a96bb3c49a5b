"""The settings and certificate of a site: the commands ``site.show`` and ``site.set``."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

import attrs
import msgspec

from controller import names
from controller.changes import secret_field
from controller.commands import Command, Work
from controller.hosting.certificates import checked_pair
from controller.hosting.sites import Site, load_site, project_site, site_kept, site_shown
from controller.hosting.zones import unknown_domain, zone_name
from controller.projection.stored import drop_secrets
from controller.refusal import CommandError
from controller.storage.database import Transaction
from controller.storage.secrets import Secrets
from templates.apache.names import document, redirect_url
from templates.apache.objects import SiteSettings
from templates.service_type import PlanRefusedError

_INDEX_DOCUMENTS = 20
"""Apache looks for each of them at every request of a directory."""


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
    """Give names of index documents, each once; raises `CommandError` ``site.index.invalid``."""
    named = tuple(dict.fromkeys(given))
    try:
        for name in named:
            document(name)
        if len(named) > _INDEX_DOCUMENTS:
            raise PlanRefusedError(f"{len(named)} index documents are too many")
    except PlanRefusedError as error:
        raise CommandError(
            "site.index.invalid",
            str(error),
            field="index",
            value=", ".join(named),
            allowed=f"up to {_INDEX_DOCUMENTS} names of files such as index.html, without a path",
        ) from error
    return named


def checked_redirect(url: str) -> str:
    """Give a URL that requests are sent to; raises `CommandError` ``site.redirect.invalid``.

    The host is stored as A-labels. User information, quotes and control characters have no place
    in it (S17); for the rest the rule is the same that a box goes by.
    """
    if not url:
        return ""
    try:
        if not url.isprintable() or " " in url:
            raise ValueError("white space or control characters")
        parts = urlsplit(url)
        return redirect_url(urlunsplit(parts._replace(netloc=_host_and_port(parts))))
    except (ValueError, CommandError, PlanRefusedError) as error:
        raise CommandError(
            "site.redirect.invalid",
            "not a URL to redirect to",
            field="redirect_to",
            value=url,
            allowed="http:// or https://, a host, a path of letters, digits and ._~/:@!&()*+,=-, "
            "and a query where %XX may stand too; empty for none",
        ) from error


def _host_and_port(parts: SplitResult) -> str:
    """Give the place of a URL as it is stored; raises `ValueError` and `CommandError`."""
    host, port = parts.hostname or "", parts.port
    if "@" in parts.netloc or port == 0:
        raise ValueError("user information, or port 0")
    try:
        host = f"[{host}]" if ip_address(host).version == 6 else host
    except ValueError:
        host = names.domain_name(host)
    return host if port is None else f"{host}:{port}"


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
        await work.tx.lock("SELECT 1 FROM site WHERE id = %s FOR UPDATE", (site.row.id,))
        site = await self._find(work.tx, request.name)
        settings = _settings(site, request)
        _refuse_loop(site, settings)
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
            work.change.row("site", site.row.domain, site_kept(site), site_kept(after))
        await project_site(work, after)
        return site_shown(after) | {"warnings": _warnings(after)}

    async def _certificate(self, tx: Transaction, site: Site, request: SetSite) -> int | None:
        """Keep a new certificate and key as secrets; give the id of the key's."""
        if request.key and not request.certificate:
            raise CommandError(
                "certificate.invalid",
                "a key without the certificate that it belongs to",
                field="certificate",
                allowed="certificate and key together, or neither",
            )
        if request.certificate is None:
            return None
        prefix = f"site:{site.row.id}"
        if request.certificate == "":
            await drop_secrets(tx, prefix)
            return None
        now = datetime.fromtimestamp(self.clock(), UTC)
        pair = checked_pair(request.certificate, request.key or "", site.row.domain, now)
        await drop_secrets(tx, prefix)
        owner = site.row.account
        await self.secrets.store(tx, pair.chain, owner_id=owner, name=f"{prefix}:chain")
        kept = await self.secrets.store(tx, pair.key, owner_id=owner, name=f"{prefix}:key")
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


def _refuse_loop(site: Site, settings: Mapping[str, Any] | None) -> None:
    """Refuse to send all requests to a name that sends them all there again."""
    host = urlsplit((settings or {}).get("redirect_to", "")).hostname
    www = f"www.{site.row.domain}" if site.row.www else None
    if host is not None and host in (site.row.domain, site.row.alias, www):
        raise CommandError(
            "site.redirect.loop",
            f"{host} is a name of this site: browsers would go round in circles",
            field="redirect_to",
            value=str(host),
            allowed="a URL of another site",
        )


def _warnings(site: Site) -> list[str]:
    if site.row.certificate is not None and not site.tls_port:
        return [f"{site.server} has no TLS port (tls_port): nobody is shown the certificate"]
    return []
