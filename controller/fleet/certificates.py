"""Certificates of boxes: issued at enrolment and renewal, written down, revoked."""

from collections.abc import Iterable
from typing import Protocol

from controller.storage.database import Transaction
from pki.authority import Issued
from pki.names import Name


class Issuer(Protocol):
    """Whoever holds the CA's key (`pki.authority.Authority`, or a proxy to it)."""

    @property
    def certificate_pem(self) -> bytes:
        """The CA's certificate."""
        ...

    def issue(self, csr_pem: bytes, name: Name, days: int = 90) -> Issued:
        """Issue a certificate for ``name``; the CSR gives only its public key."""
        ...


async def record(tx: Transaction, issued: Issued) -> None:
    """Write down a certificate that was issued to a box."""
    await tx.run(
        "INSERT INTO certificate (serial, name, box_id, not_after) VALUES (%s, %s, %s, %s)",
        (issued.serial, issued.name.uri, issued.name.subject, issued.not_after),
    )


async def revoke_of_box(tx: Transaction, box: str, reason: str) -> list[int]:
    """Mark all certificates of a box as revoked; give their serials, for the deny-list."""
    rows = await tx.rows(
        """UPDATE certificate SET revoked_at = now(), reason = %s
           WHERE box_id = %s AND revoked_at IS NULL RETURNING serial""",
        (reason, box),
    )
    return [int(row[0]) for row in rows]


async def revoked_among(tx: Transaction, serials: Iterable[int]) -> set[int]:
    """Give those of ``serials`` that are marked as revoked."""
    rows = await tx.rows(
        """SELECT serial FROM certificate
           WHERE serial = ANY(%s::numeric[]) AND revoked_at IS NOT NULL""",
        (list(serials),),
    )
    return {int(row[0]) for row in rows}
