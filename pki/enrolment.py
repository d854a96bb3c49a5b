"""The one-time token by which a box and a controller prove themselves to each other.

The token is one word that any shell takes as it is. Whoever holds it may enrol that one box, once,
while it lasts; the CA's fingerprint in it tells the box which controller to believe. The controller
keeps only the digest and looks the token up by it, so nothing secret is ever compared.
"""

import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

import attrs

from pki.names import NameRefusedError, check_box

PREFIX = "hs1"
SECRET_BYTES = 32
LONGEST_TOKEN = 200
SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
FINGERPRINT = re.compile(r"[0-9a-f]{64}")


class TokenRefusedError(ValueError):
    """A text that is not a token. The message never holds the text: it may be nearly a secret."""


@attrs.frozen
class Token:
    """Permission to enrol the box ``box_id`` at the cluster whose CA has ``ca_fingerprint``."""

    box_id: str
    secret: bytes = attrs.field(repr=False)
    ca_fingerprint: str

    def __attrs_post_init__(self) -> None:
        try:
            check_box(self.box_id)
        except NameRefusedError as error:
            raise TokenRefusedError("the token does not name a box by its uuid") from error
        if len(self.secret) != SECRET_BYTES:
            raise TokenRefusedError(f"the token's secret is not {SECRET_BYTES} bytes long")
        if not FINGERPRINT.fullmatch(self.ca_fingerprint):
            raise TokenRefusedError("the token's CA fingerprint is not 64 hex digits")

    @classmethod
    def new(cls, box_id: str, ca_fingerprint: str) -> "Token":
        """Make a token with a fresh secret of 256 bits."""
        return cls(box_id, secrets.token_bytes(SECRET_BYTES), ca_fingerprint)

    @property
    def text(self) -> str:
        """One shell-safe word: ``hs1.<box uuid>.<secret base64url>.<fingerprint hex>``."""
        secret = urlsafe_b64encode(self.secret).rstrip(b"=").decode("ascii")
        return f"{PREFIX}.{self.box_id}.{secret}.{self.ca_fingerprint}"

    @property
    def digest(self) -> bytes:
        """SHA-256 of the secret: what the controller stores and looks up."""
        return sha256(self.secret).digest()

    @classmethod
    def parse(cls, text: str) -> "Token":
        """Read the text form; anything but what `text` gives raises `TokenRefusedError`."""
        if len(text) > LONGEST_TOKEN:
            raise TokenRefusedError(f"a token of {len(text)} characters is too long")
        parts = text.split(".")
        if len(parts) != 4 or parts[0] != PREFIX:
            raise TokenRefusedError(
                f"the token does not have the form {PREFIX}.BOX.SECRET.FINGERPRINT:"
                " copy the whole line that was printed"
            )
        _, box_id, secret, fingerprint = parts
        if not SECRET.fullmatch(secret):
            raise TokenRefusedError("the token's secret is damaged: copy the whole line again")
        token = cls(box_id, urlsafe_b64decode(secret + "="), fingerprint)
        if token.text != text:
            raise TokenRefusedError("the token's secret is damaged: copy the whole line again")
        return token
