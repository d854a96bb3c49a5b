"""All service types by name, and the digest that tells whether two boxes render alike."""

from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from types import MappingProxyType

from templates.apache.service import APACHE
from templates.bind.service import BIND
from templates.service_type import ServiceType

SERVICE_TYPES: Mapping[str, ServiceType] = MappingProxyType(
    {known.name: known for known in (BIND, APACHE)}
)
"""Explicit on purpose: a folder that is not named here is not a service type."""


def renderer_digest(service_type: ServiceType) -> str:
    """Give the digest over all code and templates that decide what bytes a box gets (hex)."""
    return _digest(service_type.name)


@cache
def _digest(name: str) -> str:
    package = files("templates")
    digest = sha256()
    for folder, label in ((package, ""), (package / name, f"{name}/")):
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if entry.is_file() and entry.name.endswith((".py", ".j2")):
                content = entry.read_bytes()
                digest.update(f"{label}{entry.name}:{len(content)}\n".encode())
                digest.update(content)
    return digest.hexdigest()
