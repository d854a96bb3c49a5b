"""The controller's own certificate: made at set-up, renewed long before it ends."""

import secrets
from datetime import UTC, datetime, timedelta

import attrs
from cryptography import x509

from controller.config import ControllerConfig
from pki.authority import CERTIFICATE_FILE, Authority
from pki.contexts import MutualTLS
from pki.keys import new_key, read_private, replace_durably, signing_request, write_private
from pki.names import Name, Role
from pki.revocation import DENY_LIST_FILE, DenyList

RENEW_BEFORE = timedelta(days=30)
_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 compared with, not bound
_OPERATORS: frozenset[Role] = frozenset(("operator",))
_CERTIFICATE = "controller.pem"
_KEY = "controller-key.pem"


def make_authority(config: ControllerConfig) -> Authority:
    """Load the cluster's CA; make it, with a new random cluster name, where there is none."""
    if (config.pki / CERTIFICATE_FILE).exists():
        return Authority.load(config.pki)
    return Authority.create(config.pki, f"hs-{secrets.token_hex(8)}")


def hosts_of(config: ControllerConfig) -> tuple[str, ...]:
    """Give the names and addresses by which panel and API are reached."""
    own = [config.public_name.lower(), "localhost", "127.0.0.1", "::1"]
    if config.panel.address not in _EVERY_ADDRESS:
        own.insert(1, config.panel.address)
    return tuple(dict.fromkeys(own))


@attrs.define
class Identity:
    """Who this controller is on its three doors: panel and API, agents, enrolment."""

    config: ControllerConfig
    authority: Authority
    denied: DenyList
    panel: MutualTLS
    agents: MutualTLS
    enrolment: MutualTLS

    @classmethod
    def load(cls, config: ControllerConfig) -> "Identity":
        """Read CA, deny-list and own certificate; a new one is issued where it is needed."""
        authority = Authority.load(config.pki)
        denied = DenyList.load(config.pki / DENY_LIST_FILE)
        certificate, key = _current(config, authority)
        ca = authority.certificate_pem
        return cls(
            config,
            authority,
            denied,
            panel=MutualTLS(
                certificate,
                key,
                ca,
                roles=_OPERATORS,
                client_certificate="optional",
                denied=denied,
            ),
            agents=MutualTLS(certificate, key, ca, denied=denied),
            enrolment=MutualTLS(certificate, key, ca, client_certificate="none"),
        )

    def renew_if_due(self) -> bool:
        """Renew the certificate for new connections when its end is near; tell whether it was."""
        held = (self.config.pki / _CERTIFICATE).read_bytes()
        certificate, key = _current(self.config, self.authority)
        if certificate == held:
            return False
        for door in (self.panel, self.agents, self.enrolment):
            door.swap(certificate, key)
        return True


def _current(config: ControllerConfig, authority: Authority) -> tuple[bytes, bytes]:
    """Give certificate and key, issued anew where missing, about to end or for other hosts."""
    certificate_file, key_file = config.pki / _CERTIFICATE, config.pki / _KEY
    if certificate_file.exists() and key_file.exists():
        pem, key = certificate_file.read_bytes(), read_private(key_file)
        if _still_good(x509.load_pem_x509_certificate(pem), authority, hosts_of(config)):
            return pem, key
    else:
        key = new_key()
        write_private(key_file, key)
    name = Name(authority.cluster, "controller", "")
    issued = authority.issue(signing_request(key), name, hosts=hosts_of(config))
    replace_durably(certificate_file, issued.certificate_pem, mode=0o644)
    return issued.certificate_pem, key


def _still_good(
    certificate: x509.Certificate, authority: Authority, hosts: tuple[str, ...]
) -> bool:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    own = {
        *names.get_values_for_type(x509.DNSName),
        *(str(address) for address in names.get_values_for_type(x509.IPAddress)),
    }
    try:
        certificate.verify_directly_issued_by(authority.certificate)
    except Exception:  # of another CA, whatever cryptography calls that: a new one is needed
        return False
    # One that begins later was issued while the clock was ahead: no box lets it in.
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return own == set(hosts) and begins <= datetime.now(UTC) < ends - RENEW_BEFORE
