"""Certificates for a crowd of boxes, issued in bulk by the cluster's own authority."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from cryptography import x509

from pki.authority import Authority
from pki.contexts import MutualTLS
from pki.keys import new_key, signing_request
from pki.names import Name


def issue(pki: Path, folder: Path, boxes: Sequence[str], processes: int) -> list[Path]:
    """Issue each box a certificate by the authority in ``pki``; one file for each process."""
    (uri,) = _uris(pki / "controller.pem")
    cluster = Name.parse(uri).cluster
    authority = Authority.load(pki)
    files = []
    for number in range(processes):
        entries = []
        for box in boxes[number::processes]:
            key = new_key()
            issued = authority.issue(signing_request(key), Name(cluster, "box", box))
            entries.append([issued.certificate_pem.decode(), key.decode()])
        file = folder / f"{number}.json"
        file.touch(mode=0o600)
        file.write_text(json.dumps([authority.certificate_pem.decode(), entries]))
        files.append(file)
    return files


def read(file: Path) -> Iterator[MutualTLS]:
    """Give the identities of one file, in the order of its boxes."""
    ca, entries = json.loads(file.read_text())
    for certificate, key in entries:
        yield MutualTLS(certificate.encode(), key.encode(), ca.encode())


def _uris(certificate: Path) -> list[str]:
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return list(names.get_values_for_type(x509.UniformResourceIdentifier))
