"""Shared SSL: certificates that all names directly below a domain present (R277, R278).

One upload reaches every web server that answers TLS, and a server that comes later presents the
same. Chain and key are kept sealed; what is told of a pair is what anybody can see of it.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import attrs

from controller import names
from controller.changes import secret_field
from controller.cluster.rules.certificates import ENDING_DAYS, ending_words
from controller.commands import Command, Work
from controller.hosting.certificates import CheckedPair, checked_shared_pair
from controller.moments import time_text
from controller.pages import after_text, limit, page
from controller.projection.servers import ServerRow
from controller.projection.stored import (
    SHARING,
    ServerProjection,
    answers_tls,
    drop_secrets,
    shared_secret,
)
from controller.refusal import CommandError
from controller.storage.database import Transaction
from templates.apache.names import SHARED_LENGTH, shared_domain
from templates.service_type import PlanRefusedError

MOST = 20
"""Every web server has all that is shared in its one object, which has to fit into a frame."""
COUNTED = 1000
"""Sites that present a shared certificate are counted up to here."""
_NAMED = 5
"""Servers that a warning names."""


@attrs.frozen
class ListShared:
    """A page of shared certificates."""

    limit: int = 100
    cursor: str = ""


@attrs.frozen
class NamedShared:
    """What is shared below a domain."""

    domain: str


@attrs.frozen
class UploadShared:
    """A PEM chain, leaf first, for ``*.domain`` and its PEM private key."""

    domain: str
    certificate: str
    key: str = secret_field()


_FIND = """
SELECT domain, names, fingerprint, not_after, uploaded_at FROM shared_certificate
WHERE domain = %s
"""

_WEB_SERVERS = """
SELECT id::text, name, group_name, service_type, settings FROM logical_server
WHERE service_type = 'apache' ORDER BY name
"""

# A name with one label more than the domain has.
_SITES = """
SELECT count(*) FROM (
    SELECT FROM domain d JOIN site s ON s.domain_id = d.id
    WHERE d.reversed > %s AND d.reversed < %s AND s.certificate_id IS NULL
      AND strpos(left(d.name, -length(%s)), '.') = 0
    LIMIT %s) below
"""


def _row(found: tuple[Any, ...]) -> dict[str, Any]:
    return {
        "domain": found[0],
        "names": found[1],
        "fingerprint": found[2],
        "not_after": time_text(found[3]),
        "uploaded_at": time_text(found[4]),
    }


def _kept(shown: dict[str, Any] | None) -> dict[str, Any] | None:
    """Give a certificate as changes keep it."""
    return None if shown is None else {name: shown[name] for name in shown if name != "uploaded_at"}


def checked_domain(text: str) -> str:
    """Give a domain whose names may share a certificate, as it is stored.

    Raises `CommandError` ``ssl.domain.invalid``.
    """
    domain = names.domain_name(text, field="domain", error_id="ssl.domain.invalid")
    try:
        return shared_domain(domain)
    except PlanRefusedError as error:
        raise CommandError(
            "ssl.domain.invalid",
            str(error),
            field="domain",
            value=text,
            allowed=f"a domain of at most {SHARED_LENGTH} characters, such as shared.example.net",
        ) from error


@attrs.frozen
class SharedCertificates:
    """The commands on shared certificates; ``clock`` gives seconds since the epoch."""

    clock: Callable[[], float]
    servers: ServerProjection

    async def all(self, work: Work, request: ListShared) -> dict[str, Any]:
        """List what is shared, by domain."""
        size = limit(request.limit)
        found = await work.tx.rows(
            """SELECT domain, names, fingerprint, not_after, uploaded_at FROM shared_certificate
               WHERE domain > %s ORDER BY domain LIMIT %s""",
            (after_text(request.cursor), size + 1),
        )
        return page([_row(row) for row in found], size, lambda item: str(item["domain"]))

    async def show(self, work: Work, request: NamedShared) -> dict[str, Any]:
        """Show what is shared below a domain, and where it is presented."""
        shown = await _find(work.tx, request.domain)
        return await self._told(work.tx, shown)

    async def upload(self, work: Work, request: UploadShared) -> dict[str, Any]:
        """Share a pair below a domain, on all web servers, in place of one that was."""
        domain = checked_domain(request.domain)
        now = datetime.fromtimestamp(self.clock(), UTC)
        pair = checked_shared_pair(request.certificate, request.key, domain, now)
        await _alone(work.tx)
        former = await work.tx.maybe(_FIND, (domain,))
        before = None if former is None else _row(former)
        if before is None:
            await _check_room(work.tx, domain)
        if before is None or not await self._is_kept(work.tx, domain, pair):
            await self._keep(work.tx, domain, pair)
            shown = _row(await work.tx.row(_FIND, (domain,)))
            work.change.row("shared_certificate", domain, _kept(before), _kept(shown))
            await self._project(work)
        return await self._told(work.tx, await _find(work.tx, domain))

    async def delete(self, work: Work, request: NamedShared) -> dict[str, Any]:
        """Share nothing below a domain any more, and forget the key."""
        await _alone(work.tx)
        shown = await _find(work.tx, request.domain)
        told = await self._told(work.tx, shown)
        await work.tx.run("DELETE FROM shared_certificate WHERE domain = %s", (shown["domain"],))
        await drop_secrets(work.tx, shared_secret(shown["domain"]))
        work.change.row("shared_certificate", shown["domain"], _kept(shown), None)
        await self._project(work)
        left = f"{_many(told['sites'])} below {shown['domain']} will present what nobody trusts"
        return {"domain": shown["domain"], "warnings": [left] if told["sites"] else []}

    async def _is_kept(self, tx: Transaction, domain: str, pair: CheckedPair) -> bool:
        """Tell whether this very pair is what is shared already."""
        prefix, secrets = shared_secret(domain), self.servers.secrets
        found = await secrets.find_all(tx, [f"{prefix}:chain", f"{prefix}:key"])
        return {name: kept.digest for name, kept in found.items()} == {
            f"{prefix}:chain": secrets.digest(pair.chain.encode()),
            f"{prefix}:key": secrets.digest(pair.key.encode()),
        }

    async def _keep(self, tx: Transaction, domain: str, pair: CheckedPair) -> None:
        prefix, secrets = shared_secret(domain), self.servers.secrets
        await drop_secrets(tx, prefix)
        await secrets.store(tx, pair.chain, name=f"{prefix}:chain")
        await secrets.store(tx, pair.key, name=f"{prefix}:key")
        await tx.run(
            """INSERT INTO shared_certificate (domain, names, fingerprint, not_after)
               VALUES (%s, %s, %s, %s) ON CONFLICT (domain) DO UPDATE
               SET names = excluded.names, fingerprint = excluded.fingerprint,
                   not_after = excluded.not_after, uploaded_at = now()""",
            (domain, list(pair.names), pair.fingerprint, pair.not_after),
        )

    async def _project(self, work: Work) -> None:
        """Give every web server that answers TLS what is shared now."""
        await self.servers.project_all(
            work, [server for server in await _web_servers(work.tx) if answers_tls(server)]
        )

    async def _told(self, tx: Transaction, shown: dict[str, Any]) -> dict[str, Any]:
        """Add where a certificate is presented, and what keeps it from being seen."""
        web = await _web_servers(tx)
        mute = [server.name for server in web if not answers_tls(server)]
        domain = shown["domain"]
        reverse = names.reversed_name(domain)
        (sites,) = await tx.row(_SITES, (f"{reverse}.", f"{reverse}/", f".{domain}", COUNTED))
        return {
            **shown,
            "logical_servers": len(web) - len(mute),
            "sites": sites,
            "warnings": [*_mute(mute), *self._ending(shown)],
        }

    def _ending(self, shown: dict[str, Any]) -> list[str]:
        now = datetime.fromtimestamp(self.clock(), UTC)
        left = (datetime.fromisoformat(shown["not_after"]) - now).days
        return [ending_words(shown["domain"], left)] if left < ENDING_DAYS else []

    def commands(self) -> tuple[Command[Any], ...]:
        """Give the commands for the registry."""
        return (
            Command(
                "ssl.list",
                "GET",
                "/shared-certificates",
                ListShared,
                "provider.read",
                "List the shared certificates",
                self.all,
            ),
            Command(
                "ssl.show",
                "GET",
                "/shared-certificates/{domain}",
                NamedShared,
                "provider.read",
                "Show what is shared below a domain",
                self.show,
                "`logical_servers` counts those that present it, `sites` those below the domain "
                f"without a certificate of their own, up to {COUNTED}.",
            ),
            Command(
                "ssl.upload",
                "PUT",
                "/shared-certificates/{domain}",
                UploadShared,
                "provider.write",
                "Share a certificate below a domain, on all web servers",
                self.upload,
                "It takes the place of the one that was shared there. A site's own certificate "
                "goes before it.",
            ),
            Command(
                "ssl.delete",
                "DELETE",
                "/shared-certificates/{domain}",
                NamedShared,
                "provider.write",
                "Share nothing below a domain any more",
                self.delete,
            ),
        )


async def _alone(tx: Transaction) -> None:
    """Wait for every other transaction that reads or changes what is shared."""
    await tx.run("SELECT pg_advisory_xact_lock(hashtext(%s))", (SHARING,))


async def _find(tx: Transaction, domain: str) -> dict[str, Any]:
    """Give what is shared below a domain; raises `CommandError` ``ssl.unknown``."""
    found = await tx.maybe(_FIND, (checked_domain(domain),))
    if found is None:
        raise CommandError(
            "ssl.unknown",
            "no certificate is shared below this domain",
            field="domain",
            value=domain,
            allowed="hsctl ssl list shows the shared certificates",
            status=404,
        )
    return _row(found)


async def _check_room(tx: Transaction, domain: str) -> None:
    (count,) = await tx.row("SELECT count(*) FROM shared_certificate")
    if count >= MOST:
        raise CommandError(
            "ssl.too-many",
            f"{count} certificates are shared already",
            field="domain",
            value=domain,
            allowed=f"up to {MOST}: hsctl ssl delete takes one away",
            status=409,
        )


async def _web_servers(tx: Transaction) -> list[ServerRow]:
    return [ServerRow(*row) for row in await tx.rows(_WEB_SERVERS)]


def _mute(mute: list[str]) -> list[str]:
    """Tell of web servers on which nobody can see it."""
    if not mute:
        return []
    more = f" and {len(mute) - _NAMED} more" if len(mute) > _NAMED else ""
    have = "has" if len(mute) == 1 else "have"
    return [f"{', '.join(mute[:_NAMED])}{more} {have} no TLS port (tls_port)"]


def _many(sites: int) -> str:
    if sites >= COUNTED:
        return f"{COUNTED} sites or more"
    return "one site" if sites == 1 else f"{sites} sites"
