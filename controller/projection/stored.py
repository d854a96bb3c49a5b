"""The thin SQL around the projection of logical servers that a command touched."""

import secrets
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence

import attrs

from controller.commands import Work
from controller.projection.servers import AddressRow, ServerRow, server_spec
from controller.storage.database import Transaction
from controller.storage.secrets import SecretReference, Secrets
from templates.apache import objects as apache
from templates.bind import objects as bind
from templates.objects import ObjectKind, Spec
from templates.registry import SERVICE_TYPES
from templates.service_type import SERVER_ID

TRANSFER_KEY = "transfer-key"
"""The secret, and the name, of the key that signs every transfer of the cluster (S35)."""

SHARING = "shared certificates"
"""The lock that whoever changes what is shared holds alone (`pg_advisory_xact_lock`)."""

SelfSigned = Callable[[str], tuple[str, str]]
"""Makes a self-signed certificate for a name: (chain, key), PEM."""


@attrs.frozen
class Pair:
    """A sealed chain with its key, as specs name them."""

    chain: SecretReference
    key: SecretReference

    @property
    def certificate(self) -> apache.Certificate:
        """Give what stands in a spec."""
        return apache.Certificate(chain=self.chain.text, key=self.key.text)

    @property
    def ids(self) -> tuple[int, int]:
        """Give what is inlined where the spec goes out."""
        return self.chain.id, self.key.id


@attrs.frozen
class ServerProjection:
    """Writes the object ``server`` of a logical server whose rows were touched."""

    secrets: Secrets
    self_signed: SelfSigned

    async def project(self, work: Work, server: ServerRow) -> None:
        """Bring the server's own object up to its rows; without an endpoint it has none.

        A server of a type that is only modelled has no object at all.
        """
        await self.project_all(work, [server])

    async def project_all(self, work: Work, servers: Sequence[ServerRow]) -> None:
        """Do so for several servers, by as many statements as for one."""
        run = [server for server in servers if server.service_type in SERVICE_TYPES]
        found = await work.tx.rows(
            """SELECT i.logical_server_id::text, host(i.address), i.port, i.type FROM ip_address i
               WHERE i.logical_server_id = ANY(ARRAY(SELECT unnest(%s::uuid[])))
               AND i.type <> 'dedicated'""",
            ([server.id for server in run],),
        )
        addresses: dict[str, list[AddressRow]] = {}
        for server_id, *address in found:
            addresses.setdefault(server_id, []).append(AddressRow(*address))
        transfer_key = None
        if any(SERVICE_TYPES[server.service_type].group == "dns" for server in run):
            transfer_key = await self._transfer_key(work.tx)
        with_tls = [server for server in run if answers_tls(server)]
        fallbacks = await self._fallbacks(work.tx, with_tls)
        shared = await _shared(work.tx) if with_tls else {}
        for server in run:
            listening, kind = addresses.get(server.id, ()), _kind(server)
            if server.id in fallbacks:
                spec, secrets = _presenting(server, listening, fallbacks[server.id], shared)
            elif transfer_key is not None and kind is bind.SERVER:
                spec, secrets = _transferring(server, listening, transfer_key)
            else:
                spec, secrets = server_spec(server, listening), ()
            if spec is None:
                await work.change.remove(server.id, kind, SERVER_ID.key)
            else:
                await work.change.upsert(server.id, kind, SERVER_ID.key, spec, secrets=secrets)

    async def _transfer_key(self, tx: Transaction) -> SecretReference:
        """Give the one key that all name servers share; the first of them brings it."""
        found = await self.secrets.find(tx, TRANSFER_KEY)
        if found is None:
            await tx.run("SELECT pg_advisory_xact_lock(hashtext(%s))", (TRANSFER_KEY,))
            found = await self.secrets.find(tx, TRANSFER_KEY)
        if found is None:
            text = b64encode(secrets.token_bytes(32)).decode()
            found = await self.secrets.store(tx, text, name=TRANSFER_KEY)
        return found

    async def _fallbacks(self, tx: Transaction, servers: Sequence[ServerRow]) -> dict[str, Pair]:
        """Give what names without a certificate of their own present, by web server."""
        names = {
            server.id: (f"fallback:{server.id}:chain", f"fallback:{server.id}:key")
            for server in servers
        }
        if not names:
            return {}
        found = await self.secrets.find_all(tx, [name for pair in names.values() for name in pair])
        for server in servers:
            chain, key = names[server.id]
            if chain not in found or key not in found:
                made = self.self_signed(server.name)
                for name, text in zip((chain, key), made, strict=True):
                    found[name] = await self.secrets.store(tx, text, name=name)
        return {server: Pair(found[chain], found[key]) for server, (chain, key) in names.items()}


def _kind(server: ServerRow) -> ObjectKind:
    return SERVICE_TYPES[server.service_type].kinds[SERVER_ID.kind]


def _presenting(
    server: ServerRow,
    addresses: Sequence[AddressRow],
    fallback: Pair,
    shared: Mapping[str, Pair],
) -> tuple[Spec | None, tuple[int, ...]]:
    """Give the object of a web server that answers TLS, and the secrets in it."""
    spec = server_spec(
        server,
        addresses,
        fallback=fallback.certificate,
        shared=[
            apache.SharedCertificate(domain=domain, certificate=pair.certificate)
            for domain, pair in shared.items()
        ],
    )
    return spec, tuple(secret for pair in (fallback, *shared.values()) for secret in pair.ids)


def _transferring(
    server: ServerRow, addresses: Sequence[AddressRow], key: SecretReference
) -> tuple[Spec | None, tuple[int, ...]]:
    """Give the object of a name server, and the secret in it."""
    named = bind.TsigKey(name=TRANSFER_KEY, algorithm="hmac-sha256", secret=key.text)
    return server_spec(server, addresses, transfer_key=named), (key.id,)


def answers_tls(server: ServerRow) -> bool:
    """Tell whether a logical server presents certificates."""
    return (
        server.service_type in SERVICE_TYPES
        and _kind(server) is apache.SERVER
        and bool(server.settings.get("tls_port", 0))
    )


def shared_secret(domain: str) -> str:
    """Name the secrets of what is shared below a domain; ``:chain`` and ``:key`` follow."""
    return f"shared:{domain}"


async def _shared(tx: Transaction) -> dict[str, Pair]:
    """Give what is shared, by domain.

    Whoever uploads another one waits for this transaction, or this one for him: each server's
    object is written by the one that comes last, with all that is shared then.
    """
    found = await tx.rows(
        """SELECT pg_advisory_xact_lock_shared(hashtext(%s));
           SELECT s.domain, c.id, c.digest, k.id, k.digest FROM shared_certificate s
           JOIN secret c ON c.name = 'shared:' || s.domain || ':chain'
           JOIN secret k ON k.name = 'shared:' || s.domain || ':key' ORDER BY s.domain""",
        (SHARING,),
    )
    return {
        domain: Pair(SecretReference(*chain_and_key[:2]), SecretReference(*chain_and_key[2:]))
        for domain, *chain_and_key in found
    }


async def drop_secrets(tx: Transaction, prefix: str) -> None:
    """Forget every secret whose name is ``prefix``, a colon and more."""
    await tx.run("DELETE FROM secret WHERE name > %s AND name < %s", (f"{prefix}:", f"{prefix};"))
