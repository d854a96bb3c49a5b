"""Who asks: the principal of a transaction, as row security and the audit see it."""

from typing import Literal

import attrs


@attrs.frozen
class Principal:
    """``provider`` sees the whole cluster, ``account`` only the rows that it owns.

    ``actor`` is what the audit names: ``operator:NAME`` or ``system:NAME``; ``origin`` says by
    which door and from which address (``api 127.0.0.1``).
    """

    kind: Literal["provider", "account"]
    actor: str
    account: int | None = None
    origin: str = ""


def system(name: str) -> Principal:
    """Give the principal of one of the controller's own jobs."""
    return Principal("provider", f"system:{name}", origin="controller")
