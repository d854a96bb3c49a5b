"""Passwords: argon2id in threads, few at a time, so that guessing cannot stall the controller."""

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from twisted.internet.defer import DeferredSemaphore
from twisted.internet.threads import deferToThread

CONCURRENT = 2
WAITING = 32
SHORTEST = 12
LONGEST = 1024


class PasswordError(ValueError):
    """A password that will not be accepted; the text says what would be."""


class PasswordsBusyError(Exception):
    """Too many passwords wait to be checked: try again in a moment."""


def check_acceptable(password: str) -> None:
    """Raise `PasswordError` for a password that is too short or absurdly long (in characters)."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise PasswordError(f"a password has {SHORTEST} to {LONGEST} characters")


class Passwords:
    """Hashes and verifies with argon2id, by default at argon2-cffi's parameters (RFC 9106)."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._turns = DeferredSemaphore(CONCURRENT)
        # Verified for names that do not exist: the time of an answer must not tell who does.
        self._nobody = self._hasher.hash("nobody")

    async def hash(self, password: str) -> str:
        """Give the hash to keep; raises `PasswordError`, `PasswordsBusyError`."""
        check_acceptable(password)
        self._refuse_crowds()
        return await self._turns.run(deferToThread, self._hasher.hash, _bytes(password))

    async def verify(self, kept: str | None, password: str) -> bool:
        """Tell whether ``password`` is the one; ``kept`` None costs as much and is never it.

        Raises `PasswordsBusyError`.
        """
        self._refuse_crowds()
        return await self._turns.run(deferToThread, self._verify, kept, _bytes(password))

    def _verify(self, kept: str | None, password: bytes) -> bool:
        try:
            self._hasher.verify(kept or self._nobody, password)
        except (VerificationError, InvalidHashError):
            return False
        return kept is not None

    def _refuse_crowds(self) -> None:
        if len(self._turns.waiting) >= WAITING:
            raise PasswordsBusyError("too many sign-ins at this moment: try again shortly")


def _bytes(password: str) -> bytes:
    """Encode whatever came in a form; what is longer than any password stays wrong."""
    return password[: LONGEST + 1].encode("utf-8", "surrogatepass")
