"""Who this box is: its certificate, its key, its machine; and the renewal of the certificate."""

import os
import socket
import uuid
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from node_agent.enrolment import CA_FILE, CERTIFICATE_FILE, KEY_FILE
from pki.keys import (
    KeyRefusedError,
    load_key,
    new_key,
    read_private,
    replace_durably,
    signing_request,
    write_private,
)

RENEW_AFTER = 2 / 3
"""Share of a certificate's life after which a new one is asked for."""
NEXT_KEY_FILE = "key.next.pem"
NEXT_CERTIFICATE_FILE = "certificate.next.pem"


class NotEnrolledError(Exception):
    """The box has no usable certificate; ``args[0]`` says what is missing and what to do."""


@attrs.frozen
class Identity:
    """A certificate chain, its key and the cluster's CA (PEM)."""

    certificate: bytes
    key: bytes = attrs.field(repr=False)
    ca: bytes

    @property
    def leaf(self) -> x509.Certificate:
        """The box's own certificate."""
        return x509.load_pem_x509_certificate(self.certificate)

    def renewal_due(self, now: datetime) -> bool:
        """Tell whether it is time to ask for the next certificate."""
        leaf = self.leaf
        life = leaf.not_valid_after_utc - leaf.not_valid_before_utc
        return now >= leaf.not_valid_before_utc + life * RENEW_AFTER

    def usable(self, now: datetime) -> bool:
        """Tell whether others whose clock is right let this box in with it."""
        return self.leaf.not_valid_before_utc <= now < self.leaf.not_valid_after_utc


def load_identity(state: Path) -> Identity:
    """Read the certificate and its key; raises `NotEnrolledError`.

    A renewal that was cut off between its two renames is finished here.
    """
    try:
        key = read_private(state / KEY_FILE)
        certificate = (state / CERTIFICATE_FILE).read_bytes()
        following = state / NEXT_CERTIFICATE_FILE
        if not _fits(certificate, key) and following.exists():
            certificate = following.read_bytes()
            if _fits(certificate, key):
                following.replace(state / CERTIFICATE_FILE)
        if not _fits(certificate, key):
            raise NotEnrolledError(f"{state}: the key is not the certificate's; enrol again")
        return Identity(certificate, key, (state / CA_FILE).read_bytes())
    except FileNotFoundError as error:
        raise NotEnrolledError(
            f"{error.filename} is missing: enrol this box (hs-agent enrol)"
        ) from error
    except (OSError, KeyRefusedError, ValueError) as error:
        raise NotEnrolledError(f"{state}: {error}") from error


class Renewal:
    """One renewal under way: the next key is made here and never leaves."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._key = new_key()
        self.request = signing_request(self._key)

    def accept(self, certificate: bytes, ca: bytes, at: datetime) -> Identity:
        """Keep the new certificate, durably, and give the new identity.

        Raises `KeyRefusedError` where it is not for our key, or not valid ``at`` this moment: one
        of the two clocks is wrong then, and a box with it might never be let in again. The order of
        the writes lets `load_identity` end a cut-off renewal.
        """
        if not _fits(certificate, self._key):
            raise KeyRefusedError("the renewed certificate is not for the key that was asked for")
        following = Identity(certificate, self._key, ca)
        if not following.usable(at):
            leaf = following.leaf
            raise KeyRefusedError(
                f"the renewed certificate is valid from {leaf.not_valid_before_utc:%Y-%m-%d %H:%M}"
                f" to {leaf.not_valid_after_utc:%Y-%m-%d %H:%M} UTC, and it is {at:%Y-%m-%d %H:%M}"
                " here: the clock of the controller or of this box is wrong; the former certificate"
                " stays in use"
            )
        replace_durably(self._state / NEXT_CERTIFICATE_FILE, certificate, mode=0o644)
        write_private(self._state / NEXT_KEY_FILE, self._key)
        (self._state / NEXT_KEY_FILE).replace(self._state / KEY_FILE)
        (self._state / NEXT_CERTIFICATE_FILE).replace(self._state / CERTIFICATE_FILE)
        _sync(self._state)
        return following


def machine_id(state: Path) -> str:
    """Give an id that is this machine's alone: derived from the system's, else drawn once.

    The system's own id is not told to anybody (see machine-id(5)).
    """
    for path in (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id")):
        try:
            text = path.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if text:
            return sha256(b"heliosphere-agent:" + text.encode()).hexdigest()[:32]
    drawn = state / "machine-id"
    if not drawn.exists():
        host = f"{uuid.uuid4().hex}:{socket.gethostname()}"
        replace_durably(drawn, sha256(host.encode()).hexdigest()[:32].encode(), mode=0o600)
    return drawn.read_text(encoding="ascii")


def boot_id() -> str:
    """Give the id of this boot; empty where the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def life() -> str:
    """Draw an id of this process's life: no copy of the box, of its disk or its boot, has it."""
    return uuid.uuid4().hex


def now() -> datetime:
    """Give the time of day."""
    return datetime.now(UTC)


def _fits(certificate: bytes, key: bytes) -> bool:
    form = Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    theirs = x509.load_pem_x509_certificate(certificate).public_key().public_bytes(*form)
    return theirs == load_key(key).public_key().public_bytes(*form)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
