"""What a BIND logical server must serve: its own configuration and its zones."""

from typing import Annotated, Literal

import msgspec

from templates.objects import Disturbance, ObjectKind, Spec, undisturbed
from templates.service_type import Endpoint
from templates.settings import DriftPolicy

Serial = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
Ttl = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class BindSettings(Spec, frozen=True):
    """What an operator may set that the daemon's configuration shows."""

    control_port: Annotated[
        int,
        msgspec.Meta(
            ge=1,
            le=65535,
            title="Control port",
            description="Port of the control channel, on loopback of the box.",
        ),
    ] = 953


class BindOptions(BindSettings, frozen=True):
    """All that an operator may set: what follows is for the model alone.

    ``role`` and ``used_by`` decide where new zones go (R361 to R370).
    """

    drift: DriftPolicy = "report"
    role: Annotated[
        Literal["none", "master", "slave1", "slave2"],
        msgspec.Meta(
            title="DNS role",
            description="The role of this server for new zones. It counts while exactly one "
            "server is master and each other role is held by one server at most; else master "
            "and slaves are drawn at random for each zone. Zones that exist stay where they are "
            "until they are moved (hsctl dns apply).",
            extra={
                "section": "DNS",
                "choices": {
                    "none": "none: drawn at random",
                    "master": "master",
                    "slave1": "slave 1",
                    "slave2": "slave 2",
                },
            },
        ),
    ] = "none"
    used_by: Annotated[
        Literal["all", "resellers", "master-admin"],
        msgspec.Meta(
            title="Used by",
            description="Whose new zones this server takes. Where all name servers are used by "
            "the same one group, signups of the other group fail.",
            extra={
                "section": "DNS",
                "choices": {
                    "all": "all accounts",
                    "resellers": "customers of resellers only",
                    "master-admin": "the provider's own customers only",
                },
            },
        ),
    ] = "all"


class TsigKey(Spec, frozen=True):
    """A transaction signature key (RFC 8945); ``secret`` is base64."""

    name: str
    algorithm: str
    secret: str


class ServerSpec(Spec, frozen=True):
    """The logical server itself."""

    name: str
    """The server's own domain name."""
    endpoints: tuple[Endpoint, ...]
    settings: BindSettings
    transfer_key: TsigKey


class Record(Spec, frozen=True):
    """One resource record; ``owner`` is relative to the zone, ``@`` the apex; ``data`` as in a
    master file with absolute names."""

    owner: str
    ttl: Ttl
    type: str
    data: str


class StartOfAuthority(Spec, frozen=True):
    """The SOA fields beside the serial (RFC 1035 section 3.3.13); times in seconds."""

    primary: str
    contact: str
    refresh: Ttl = 10800
    retry: Ttl = 3600
    expire: Ttl = 1209600
    minimum: Ttl = 3600
    ttl: Ttl = 3600


class MasterZone(Spec, frozen=True, tag="master", tag_field="role"):
    """A zone that this server is master of."""

    serial: Serial
    soa: StartOfAuthority
    records: tuple[Record, ...]
    secondaries: tuple[Endpoint, ...]


class SecondaryZone(Spec, frozen=True, tag="secondary", tag_field="role"):
    """A zone that this server transfers from its masters."""

    masters: tuple[Endpoint, ...]


def needs_restart(before: ServerSpec | None, after: ServerSpec) -> bool:
    """Tell whether named must be started anew.

    A reload is asked for over the control port, and the address families are arguments of named.
    """
    return before is not None and (
        before.settings.control_port != after.settings.control_port
        or _families(before) != _families(after)
    )


def _families(spec: ServerSpec) -> frozenset[int]:
    return frozenset(6 if ":" in endpoint.address else 4 for endpoint in spec.endpoints)


def _disturbs(before: ServerSpec | None, after: ServerSpec | None) -> Disturbance:
    if after is None:
        return "nothing"
    return "restart" if needs_restart(before, after) else "reload"


MOST_OF_A_TYPE = 100
"""Records of one name and type: named, 9.18.28 and later, loads no zone with more (its
max-records-per-type; it answers the zone of before)."""

SERVER = ObjectKind("server", 1, ServerSpec, lambda key, spec: "server", _disturbs)
ZONE = ObjectKind(
    "zone",
    1,
    MasterZone | SecondaryZone,
    lambda key, spec: f"zone:{key}",
    # Zones come, change and go over the control channel, one by one.
    undisturbed,
)
