from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from pki.authority import Authority, AuthorityError, fingerprint_of
from pki.keys import new_key, signing_request, write_private
from pki.names import Name, NameRefusedError
from tests.unit.pki.forge import BOX, CLUSTER

CONTROLLER = Name(CLUSTER, "controller")
A_BOX = Name(CLUSTER, "box", BOX)
AN_OPERATOR = Name(CLUSTER, "operator", "ann")
NOW = datetime(2031, 5, 4, 3, 2, 1, 500, tzinfo=UTC)


def leaf(authority: Authority, name: Name, *hosts: str) -> x509.Certificate:
    issued = authority.issue(signing_request(new_key()), name, hosts=hosts)
    return x509.load_pem_x509_certificate(issued.certificate_pem)


def sans(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def usages(certificate: x509.Certificate) -> set[x509.ObjectIdentifier]:
    return set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_a_ca_that_was_made_is_loaded(ca_directory: Path, authority: Authority) -> None:
    loaded = Authority.load(ca_directory)
    assert loaded.cluster == CLUSTER
    assert loaded.certificate_pem == authority.certificate_pem
    assert loaded.fingerprint == authority.fingerprint == fingerprint_of(authority.certificate_pem)
    assert len(loaded.fingerprint) == 64


def test_the_ca_signs_leaves_only(authority: Authority) -> None:
    extensions = authority.certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.key_cert_sign, usage.digital_signature) == (True, False)


def test_the_ca_lasts_ten_years(ca_directory: Path) -> None:
    certificate = Authority.create(ca_directory, CLUSTER, now=lambda: NOW).certificate
    assert certificate.not_valid_after_utc == NOW.replace(microsecond=0) + timedelta(days=3650)


def test_an_existing_ca_is_not_replaced(ca_directory: Path, authority: Authority) -> None:
    with pytest.raises(AuthorityError, match="not replaced"):
        Authority.create(ca_directory, CLUSTER)
    assert Authority.load(ca_directory).fingerprint == authority.fingerprint


@pytest.mark.parametrize("rest", ["ca.pem", "ca-key.pem"])
def test_the_rest_of_a_ca_is_not_replaced(ca_directory: Path, rest: str) -> None:
    ca_directory.mkdir()
    (ca_directory / rest).touch()
    with pytest.raises(AuthorityError, match="not replaced"):
        Authority.create(ca_directory, CLUSTER)


def test_the_ca_and_its_key_are_the_owners_alone(ca_directory: Path, authority: Authority) -> None:
    assert ca_directory.stat().st_mode & 0o777 == 0o700
    assert (ca_directory / "ca-key.pem").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o644, 0o604, 0o660])
def test_a_ca_key_that_others_may_read_is_not_loaded(
    ca_directory: Path, authority: Authority, mode: int
) -> None:
    (ca_directory / "ca-key.pem").chmod(mode)
    with pytest.raises(AuthorityError, match="chmod 600"):
        Authority.load(ca_directory)


def test_a_ca_with_a_foreign_key_is_not_loaded(ca_directory: Path, authority: Authority) -> None:
    write_private(ca_directory / "ca-key.pem", new_key())
    with pytest.raises(AuthorityError, match="belong together"):
        Authority.load(ca_directory)


def test_a_damaged_ca_is_named(ca_directory: Path, authority: Authority) -> None:
    (ca_directory / "ca.pem").write_bytes(b"nonsense")
    with pytest.raises(AuthorityError, match="not a certificate"):
        Authority.load(ca_directory)


def test_a_missing_ca_is_named(ca_directory: Path) -> None:
    with pytest.raises(AuthorityError, match=r"ca\.pem is missing"):
        Authority.load(ca_directory)


def test_the_key_is_not_in_the_repr(authority: Authority) -> None:
    assert "key" not in repr(authority)


def test_a_controller_serves_and_dials(authority: Authority) -> None:
    certificate = leaf(authority, CONTROLLER, "panel.example.net", "192.0.2.1", "2001:db8::1")
    assert usages(certificate) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}
    names = sans(certificate)
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [CONTROLLER.uri]
    assert names.get_values_for_type(x509.DNSName) == ["panel.example.net"]
    assert names.get_values_for_type(x509.IPAddress) == [
        ip_address("192.0.2.1"),
        ip_address("2001:db8::1"),
    ]


@pytest.mark.parametrize("name", [A_BOX, AN_OPERATOR])
def test_boxes_and_operators_only_dial(authority: Authority, name: Name) -> None:
    certificate = leaf(authority, name)
    assert usages(certificate) == {ExtendedKeyUsageOID.CLIENT_AUTH}
    assert list(sans(certificate)) == [x509.UniformResourceIdentifier(name.uri)]


@pytest.mark.parametrize("name", [CONTROLLER, A_BOX, AN_OPERATOR])
def test_a_leaf_signs_nothing(authority: Authority, name: Name) -> None:
    extensions = leaf(authority, name).extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value.ca is False
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.digital_signature, usage.value.key_cert_sign) == (True, False)


def test_only_a_controller_has_host_names(authority: Authority) -> None:
    with pytest.raises(NameRefusedError, match="host names"):
        leaf(authority, A_BOX, "ns1.example.net")


@pytest.mark.parametrize(
    "host",
    ["", ".", "*.example.net", "a..b", "-a.net", "a_b.net", "bücher.example", "A.net", "a.net.",
     "a\n.net", "a" * 64 + ".net", "a." * 127 + "net", "192.0.2.1/24", "https://a.net"],
)  # fmt: skip
def test_a_bad_host_is_refused(authority: Authority, host: str) -> None:
    with pytest.raises(NameRefusedError, match="host"):
        leaf(authority, CONTROLLER, host)


def test_a_name_of_another_cluster_is_refused(authority: Authority) -> None:
    with pytest.raises(NameRefusedError, match="cluster"):
        leaf(authority, Name("c2", "box", BOX))


def test_a_leaf_lasts_ninety_days_and_begins_five_minutes_ago(ca_directory: Path) -> None:
    authority = Authority.create(ca_directory, CLUSTER, now=lambda: NOW)
    issued = authority.issue(signing_request(new_key()), A_BOX)
    certificate = x509.load_pem_x509_certificate(issued.certificate_pem)
    second = NOW.replace(microsecond=0)
    assert certificate.not_valid_before_utc == second - timedelta(minutes=5)
    assert certificate.not_valid_after_utc == second + timedelta(days=90) == issued.not_after


def test_a_leaf_does_not_outlive_its_ca(ca_directory: Path) -> None:
    ca = Authority.create(ca_directory, CLUSTER, now=lambda: NOW).certificate
    late = Authority.load(ca_directory, now=lambda: ca.not_valid_after_utc - timedelta(days=1))
    assert late.issue(signing_request(new_key()), A_BOX).not_after == ca.not_valid_after_utc


def test_a_ca_that_ended_issues_nothing(ca_directory: Path) -> None:
    ca = Authority.create(ca_directory, CLUSTER, now=lambda: NOW).certificate
    ended = Authority.load(ca_directory, now=lambda: ca.not_valid_after_utc)
    with pytest.raises(AuthorityError, match="ended"):
        ended.issue(signing_request(new_key()), A_BOX)


def test_serials_are_long_and_random(authority: Authority) -> None:
    request = signing_request(new_key())
    serials = {authority.issue(request, A_BOX).serial for _ in range(8)}
    assert len(serials) == 8
    assert max(serials).bit_length() > 128


def test_issuer_and_key_are_identified(authority: Authority) -> None:
    certificate = leaf(authority, A_BOX)
    own = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    issuer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    root = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    public_key = certificate.public_key()
    assert own == x509.SubjectKeyIdentifier.from_public_key(public_key)  # type: ignore[arg-type]
    assert issuer.key_identifier == root.digest
