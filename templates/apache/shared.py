"""Shared certificates: a mass virtual host each, for all names directly below a domain (R278).

A site there needs nothing of its own: it is answered by its link, as over plain HTTP, and presents
what its provider has. A certificate of its own goes before it.
"""

import attrs
import msgspec

from templates.apache.certificates import file_digest
from templates.apache.names import shared_domain, shared_name
from templates.apache.objects import Certificate, ServerSpec
from templates.service_type import PlanRefusedError


@attrs.frozen
class Shared:
    """A certificate that names below ``domain`` share."""

    domain: str
    certificate: Certificate

    @property
    def name(self) -> str:
        """Give the name by which the server asks itself for it."""
        return shared_name(self.domain)

    @property
    def path(self) -> str:
        """Name its file: a new pair is a new file. A site's has no ``_`` in its name."""
        return f"tls/shared_{self.domain}.{file_digest(self.certificate)}.pem"


def shared_of(spec: ServerSpec) -> tuple[Shared, ...]:
    """Give what a server shares, none where it answers no TLS.

    The longest domain comes first: Apache takes the first name that fits, and its ``*`` stands for
    more than one label. Raises `PlanRefusedError`.
    """
    if not spec.settings.tls_port or spec.shared is msgspec.UNSET:
        return ()
    domains = [shared_domain(each.domain) for each in spec.shared]
    if len(set(domains)) != len(domains):
        raise PlanRefusedError("two certificates are shared below one domain")
    return tuple(
        Shared(each.domain, each.certificate)
        for each in sorted(spec.shared, key=lambda each: (-each.domain.count("."), each.domain))
    )
