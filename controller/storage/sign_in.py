"""Signing in by name and password, with a limit on guessing."""

from ipaddress import IPv6Address, ip_address

import attrs

from controller.principal import system
from controller.storage.database import Database, Transaction
from controller.storage.passwords import Passwords
from controller.storage.people import Operator, find_operator, is_operator_name

WINDOW_MINUTES = 15
PER_PAIR = 10
"""Failures of one name from one address in the window."""
PER_ADDRESS = 40
PER_NAME = 200
"""High: whoever guesses from many addresses must not be able to lock the operator out."""
_PRINCIPAL = system("sign-in")


class SignInRefusedError(Exception):
    """Nobody is signed in.

    ``retry_after`` is in seconds, 0 where only the name or password was wrong; which of them is
    never told.
    """

    def __init__(self, retry_after: int = 0) -> None:
        super().__init__("too many attempts" if retry_after else "wrong name or password")
        self.retry_after = retry_after


@attrs.frozen
class SignIn:
    """Checks names and passwords."""

    database: Database
    passwords: Passwords

    async def check(self, name: str, password: str, address: str) -> Operator:
        """Give the operator whose name and password these are.

        The attempt is counted before the password is looked at, so that attempts made all at once
        count as well. Raises `SignInRefusedError`,
        `controller.storage.passwords.PasswordsBusyError`.
        """
        subjects = _subjects(name, address)

        async def begin(tx: Transaction) -> tuple[int, Operator | None]:
            wait = await _wait(tx, subjects)
            if wait:
                return wait, None
            for subject in subjects:
                await tx.run("INSERT INTO sign_in_failure (subject) VALUES (%s)", (subject,))
            return 0, await find_operator(tx, name) if is_operator_name(name) else None

        wait, operator = await self.database.transaction(_PRINCIPAL, begin, name="sign-in.begin")
        if wait:
            raise SignInRefusedError(wait)
        kept = operator.password_hash if operator is not None and not operator.disabled else None
        right = await self.passwords.verify(kept, password)
        if operator is None or not right:
            raise SignInRefusedError

        async def forget(tx: Transaction) -> None:
            pair, *others = subjects
            await tx.run("DELETE FROM sign_in_failure WHERE subject = %s", (pair,))
            for subject in others:  # this attempt's own row, and no guesser's
                await tx.run(
                    "DELETE FROM sign_in_failure WHERE ctid = (SELECT ctid FROM sign_in_failure"
                    " WHERE subject = %s ORDER BY failed_at DESC LIMIT 1)",
                    (subject,),
                )

        await self.database.transaction(_PRINCIPAL, forget, name="sign-in.forget")
        return operator


async def purge_failures(tx: Transaction) -> int:
    """Forget failures that no longer count; give how many."""
    return await tx.run(
        "DELETE FROM sign_in_failure WHERE failed_at < now() - make_interval(mins => %s)",
        (WINDOW_MINUTES,),
    )


def _subjects(name: str, address: str) -> tuple[str, str, str]:
    known = name if is_operator_name(name) else "?"  # what can be nobody's name is counted as one
    network = _network(address)
    return f"pair:{known} {network}", f"address:{network}", f"name:{known}"


def _network(address: str) -> str:
    """Give what one client holds: an IPv4 address, or the 64-bit prefix of an IPv6 one."""
    parsed = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(IPv6Address(int(parsed) >> 64 << 64)) + "/64"
    return str(parsed)


async def _wait(tx: Transaction, subjects: tuple[str, str, str]) -> int:
    """Give the seconds until this may be tried again, 0 for now.

    The lock makes attempts of one address follow one another here, so that none goes uncounted.
    """
    await tx.rows("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (subjects[1],))
    longest = 0
    for subject, limit in zip(subjects, (PER_PAIR, PER_ADDRESS, PER_NAME), strict=True):
        row = await tx.maybe(
            "SELECT ceil(extract(epoch FROM failed_at + make_interval(mins => %s) - now()))::int"
            " FROM sign_in_failure WHERE subject = %s"
            " AND failed_at > now() - make_interval(mins => %s)"
            " ORDER BY failed_at DESC OFFSET %s LIMIT 1",
            (WINDOW_MINUTES, subject, WINDOW_MINUTES, limit - 1),
        )
        longest = max(longest, row[0] if row is not None else 0)
    return longest
