"""S13: no text of a request or a name makes the operator's screen show what is not so."""

import re
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pki.authority import Authority
from pki.main import cli, escaped
from pki.names import Name, NameRefusedError
from tests.unit.pki.forge import BOX, CLUSTER, p256

LIES = {
    "ansi": "\x1b[2J\x1b[Hissue for    urn:heliosphere:c1:box:1",
    "c1-ansi": "\x9b2Jclean",
    "carriage-return": "evil\rissue for    nobody",
    "newline": "x\nissue for    nobody",
    "right-to-left": "\u202egnp.exe",
    "homoglyph": "аnn",  # the first letter is Cyrillic
    "zero-width": "an\u200bn",
    "bell": "\a\b\b\b",
}
SHOWN = re.compile(r"[\x20-\x7e\n]*")


@pytest.fixture
def ca_directory(tmp_path: Path) -> Path:
    Authority.create(tmp_path / "ca", CLUSTER)
    return tmp_path / "ca"


def hs_ca(directory: Path, *words: str, given: bytes = b"") -> Result:
    return CliRunner().invoke(cli, [words[0], "--dir", str(directory), *words[1:]], input=given)


def request(common_name: str) -> bytes:
    with warnings.catch_warnings(action="ignore"):  # that the name is too long is the point
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name, _validate=False)])
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(name)
        .sign(p256(), hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


@pytest.mark.parametrize("lie", LIES)
def test_a_requests_subject_is_shown_escaped(ca_directory: Path, lie: str) -> None:
    result = hs_ca(ca_directory, "sign", "-", "--box", BOX, "--yes", given=request(LIES[lie]))
    assert result.exit_code == 0
    assert SHOWN.fullmatch(result.output)
    lines = [line for line in result.stderr.splitlines() if line.startswith("issue for")]
    assert lines == [f"issue for    urn:heliosphere:c1:box:{BOX}"]
    assert "key SHA-256" in result.stderr


@pytest.mark.filterwarnings("error")
def test_a_subject_that_is_too_long_to_read_is_cut(ca_directory: Path) -> None:
    result = hs_ca(ca_directory, "sign", "-", "--box", BOX, "--yes", given=request("a" * 3000))
    assert result.exit_code == 0
    assert max(map(len, result.stderr.splitlines())) < 300
    assert "Warning" not in result.stderr


def test_a_request_with_a_name_of_64_kib_is_refused(ca_directory: Path) -> None:
    result = hs_ca(ca_directory, "sign", "-", "--box", BOX, "--yes", given=request("a" * 65536))
    assert result.exit_code == 1
    assert "8192" in result.stderr
    assert len(result.stderr) < 300


@pytest.mark.parametrize("lie", [*LIES.values(), "a" * 65536, "ann.", "Ann", "../ann", "-ann"])
def test_an_operators_name_that_lies_is_refused(
    ca_directory: Path, tmp_path: Path, lie: str
) -> None:
    result = hs_ca(ca_directory, "issue-operator", "--out", str(tmp_path / "out"), "--", lie)
    assert result.exit_code == 1
    assert SHOWN.fullmatch(result.output)
    assert len(result.stderr) < 400
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("lie", LIES.values())
def test_a_box_or_cluster_or_serial_that_lies_is_refused(
    ca_directory: Path, tmp_path: Path, lie: str
) -> None:
    for words in (
        ("sign", "-", "--box", lie, "--yes"),
        ("revoke", lie),
        ("init", "--dir", str(tmp_path / "new"), "--cluster", lie),
    ):
        result = hs_ca(ca_directory, *words, given=request("x"))
        assert result.exit_code == 1
        assert SHOWN.fullmatch(result.output)
    assert not (tmp_path / "new" / "ca.pem").exists()


@given(st.text())
def test_escaped_text_is_one_printable_line(text: str) -> None:
    assert escaped(text).isascii()
    assert escaped(text).isprintable()
    assert len(escaped(text)) < 220


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.text(min_size=1), st.sampled_from(["box", "operator"]))
def test_a_name_is_plain_or_refused_in_plain_words(text: str, role: str) -> None:
    try:
        shown = Name(CLUSTER, role, text).subject  # type: ignore[arg-type]
        assert re.fullmatch(r"[a-z0-9.-]+", shown)
    except NameRefusedError as error:
        shown = str(error)
    assert shown.isascii()
    assert shown.isprintable()
