"""The thin SQL around the projection of logical servers: one touched server at a time."""

import secrets
from base64 import b64encode
from collections.abc import Callable

import attrs

from controller.commands import Work
from controller.projection.servers import AddressRow, ServerRow, server_spec
from controller.storage.database import Transaction
from controller.storage.secrets import SecretReference, Secrets
from templates.apache.objects import ApacheOptions, Certificate
from templates.bind.objects import TsigKey
from templates.registry import SERVICE_TYPES
from templates.service_type import SERVER_ID

TRANSFER_KEY = "transfer-key"
"""The secret, and the name, of the key that signs every transfer of the cluster (S35)."""

SelfSigned = Callable[[str], tuple[str, str]]
"""Makes a self-signed certificate for a name: (chain, key), PEM."""


@attrs.frozen
class ServerProjection:
    """Writes the object ``server`` of a logical server whose rows were touched."""

    secrets: Secrets
    self_signed: SelfSigned

    async def project(self, work: Work, server: ServerRow) -> None:
        """Bring the server's own object up to its rows; without an endpoint it has none.

        A server of a type that is only modelled has no object at all.
        """
        if server.service_type not in SERVICE_TYPES:
            return
        found = await work.tx.rows(
            """SELECT host(i.address), i.port, i.type FROM ip_address i
               WHERE i.logical_server_id = %s AND i.type <> 'dedicated'""",
            (server.id,),
        )
        service_type = SERVICE_TYPES[server.service_type]
        transfer_key = fallback = None
        references: tuple[SecretReference, ...] = ()
        if service_type.group == "dns":
            reference = await self._transfer_key(work.tx)
            transfer_key = TsigKey(
                name=TRANSFER_KEY, algorithm="hmac-sha256", secret=reference.text
            )
            references = (reference,)
        if service_type.settings is ApacheOptions and server.settings.get("tls_port", 0):
            references = await self._fallback(work.tx, server)
            fallback = Certificate(chain=references[0].text, key=references[1].text)
        spec = server_spec(
            server,
            [AddressRow(*row) for row in found],
            transfer_key=transfer_key,
            fallback=fallback,
        )
        kind = service_type.kinds[SERVER_ID.kind]
        if spec is None:
            await work.change.remove(server.id, kind, SERVER_ID.key)
            return
        await work.change.upsert(
            server.id, kind, SERVER_ID.key, spec, secrets=[kept.id for kept in references]
        )

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

    async def _fallback(
        self, tx: Transaction, server: ServerRow
    ) -> tuple[SecretReference, SecretReference]:
        """Give what names without a certificate of their own present on a web server."""
        chain = await self.secrets.find(tx, f"fallback:{server.id}:chain")
        key = await self.secrets.find(tx, f"fallback:{server.id}:key")
        if chain is None or key is None:
            made_chain, made_key = self.self_signed(server.name)
            chain = await self.secrets.store(tx, made_chain, name=f"fallback:{server.id}:chain")
            key = await self.secrets.store(tx, made_key, name=f"fallback:{server.id}:key")
        return chain, key


async def drop_secrets(tx: Transaction, prefix: str) -> None:
    """Forget every secret whose name is ``prefix``, a colon and more."""
    await tx.run("DELETE FROM secret WHERE name > %s AND name < %s", (f"{prefix}:", f"{prefix};"))
