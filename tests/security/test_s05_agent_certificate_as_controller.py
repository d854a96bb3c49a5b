"""S5: a box's certificate never makes a controller, whatever its request asked for."""

from pathlib import Path

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pki.authority import Authority
from pki.contexts import EnrolmentTLS, MutualTLS
from pki.names import Name
from tests.unit.pki.forge import BOTH, BOX, CLUSTER, Bundle, issued, p256, pem
from tests.unit.pki.meeting import Hostile, meet

A_BOX = Name(CLUSTER, "box", BOX)
CONTROLLER = Name(CLUSTER, "controller")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "ca", CLUSTER)


def greedy(authority: Authority, name: Name = A_BOX) -> Bundle:
    """Enrol as a box, with a request that asks for everything a controller and a CA have."""
    key = p256()
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CONTROLLER.uri)]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, True, True, False, False),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage(BOTH), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [
                    x509.UniformResourceIdentifier(CONTROLLER.uri),
                    x509.DNSName("panel.example.net"),
                ]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    made = authority.issue(request, name)
    return Bundle(made.certificate_pem, pem(key), (authority.certificate,))


def test_nothing_of_a_request_but_its_key_is_copied(authority: Authority) -> None:
    certificate = greedy(authority).certificate
    extensions = certificate.extensions
    assert list(extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == [
        x509.UniformResourceIdentifier(A_BOX.uri)
    ]
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.CLIENT_AUTH
    ]
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert CONTROLLER.uri not in certificate.subject.rfc4514_string()


@pytest.mark.parametrize("name", [A_BOX, Name(CLUSTER, "operator", "eve")], ids=["box", "operator"])
@pytest_twisted.ensureDeferred
async def test_a_stolen_certificate_does_not_play_the_controller(
    authority: Authority, name: Name
) -> None:
    victim = issued(authority, Name(CLUSTER, "box", BOX[:-1] + "4"))
    meeting = await meet(
        Hostile(greedy(authority, name)),
        MutualTLS(victim.certificate_pem, victim.key_pem, authority.certificate_pem),
    )
    assert not meeting.client.verified
    assert not meeting.server.heard


@pytest.mark.parametrize("name", [A_BOX, Name(CLUSTER, "operator", "eve")], ids=["box", "operator"])
@pytest_twisted.ensureDeferred
async def test_a_stolen_certificate_enrols_nobody(authority: Authority, name: Name) -> None:
    meeting = await meet(Hostile(greedy(authority, name)), EnrolmentTLS(authority.fingerprint))
    assert not meeting.client.verified
    assert not meeting.server.heard


@pytest_twisted.ensureDeferred
async def test_a_box_is_no_operator_at_the_panel(authority: Authority) -> None:
    controller = issued(authority, CONTROLLER)
    panel = MutualTLS(
        controller.certificate_pem,
        controller.key_pem,
        authority.certificate_pem,
        roles=("operator",),
        client_certificate="optional",
    )
    meeting = await meet(panel, Hostile(greedy(authority)))
    assert not meeting.server.verified
    assert not meeting.client.heard
