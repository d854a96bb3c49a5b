"""Operators, tokens, sessions and the limit on guessing."""

from datetime import UTC, datetime, timedelta

import pytest
import pytest_twisted
from argon2 import PasswordHasher
from twisted.internet.defer import Deferred, DeferredList

from controller.principal import system
from controller.storage import people, web_sessions
from controller.storage.database import Database, Transaction
from controller.storage.passwords import Passwords
from controller.storage.sign_in import PER_PAIR, SignIn, SignInRefusedError

PROVIDER = system("test")
PASSWORD = "correct horse battery"


@pytest.fixture
def passwords() -> Passwords:
    """argon2id with the least work: these tests are not about its strength."""
    return Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


@pytest_twisted.async_fixture
async def sign_in(database: Database, passwords: Passwords) -> SignIn:
    kept = await passwords.hash(PASSWORD)
    await database.transaction(
        PROVIDER, lambda tx: people.create_operator(tx, "admin", kept), name="create"
    )
    return SignIn(database, passwords)


async def refused(sign_in: SignIn, name: str, password: str, address: str) -> int:
    with pytest.raises(SignInRefusedError) as error:
        await sign_in.check(name, password, address)
    return error.value.retry_after


@pytest_twisted.ensureDeferred
async def test_the_right_password_lets_in(sign_in: SignIn) -> None:
    assert (await sign_in.check("admin", PASSWORD, "192.0.2.1")).name == "admin"


@pytest.mark.parametrize("name", ["admin", "nobody", "admin\0", "x" * 5000, "\ud800"])
@pytest_twisted.ensureDeferred
async def test_a_wrong_name_or_password_is_told_alike(sign_in: SignIn, name: str) -> None:
    assert await refused(sign_in, name, "wrong\ud800", "192.0.2.1") == 0


@pytest.mark.parametrize("name", ["admin", "without"])
@pytest_twisted.ensureDeferred
async def test_no_password_is_nobodys(sign_in: SignIn, database: Database, name: str) -> None:
    """What is verified in the place of a missing password, for its time alone, lets nobody in."""

    async def prepare(tx: Transaction) -> None:
        await people.create_operator(tx, "without", None)
        await people.disable_operator(tx, "admin")

    await database.transaction(PROVIDER, prepare, name="prepare")
    assert await refused(sign_in, name, "nobody", "192.0.2.1") == 0


@pytest_twisted.ensureDeferred
async def test_guessing_is_stopped_even_with_the_right_password(sign_in: SignIn) -> None:
    for _ in range(PER_PAIR):
        assert await refused(sign_in, "admin", "wrong", "192.0.2.1") == 0
    assert await refused(sign_in, "admin", PASSWORD, "192.0.2.1") > 0
    # The operator, at another address, is not locked out.
    assert (await sign_in.check("admin", PASSWORD, "192.0.2.2")).name == "admin"


@pytest_twisted.ensureDeferred
async def test_guesses_made_all_at_once_count_as_well(sign_in: SignIn) -> None:
    answers = await DeferredList(
        [
            Deferred.fromCoroutine(sign_in.check("admin", "wrong", "192.0.2.1"))
            for _ in range(PER_PAIR * 2)
        ],
        consumeErrors=True,
    )
    waits = [failure.value.retry_after for _, failure in answers]
    assert sum(wait == 0 for wait in waits) == PER_PAIR


@pytest_twisted.ensureDeferred
async def test_addresses_of_one_network_count_together(sign_in: SignIn) -> None:
    for n in range(PER_PAIR):
        await refused(sign_in, "admin", "wrong", f"2001:db8::{n + 1:x}")
    assert await refused(sign_in, "admin", "wrong", "2001:db8::ffff") > 0


@pytest_twisted.ensureDeferred
async def test_success_forgets_the_operators_own_failures(sign_in: SignIn) -> None:
    for _ in range(3):
        for _ in range(PER_PAIR - 1):
            await refused(sign_in, "admin", "wrong", "192.0.2.1")
        await sign_in.check("admin", PASSWORD, "192.0.2.1")


@pytest_twisted.ensureDeferred
async def test_a_disabled_operator_has_no_way_in(sign_in: SignIn, database: Database) -> None:
    async def prepare(tx: Transaction) -> tuple[str, str]:
        token = await people.create_token(tx, "admin", "script")
        begun = await web_sessions.begin_session(tx, "admin")
        assert await people.operator_of_token(tx, token) == "admin"
        assert (await web_sessions.find_session(tx, begun.cookie)) == begun.session
        await people.disable_operator(tx, "admin")
        return token, begun.cookie

    token, cookie = await database.transaction(PROVIDER, prepare, name="prepare")

    async def look(tx: Transaction) -> list[object]:
        return [
            await people.operator_of_token(tx, token),
            await web_sessions.find_session(tx, cookie),
            await people.operator_enabled(tx, "admin"),
        ]

    assert await database.transaction(PROVIDER, look, name="look") == [None, None, False]
    assert await refused(sign_in, "admin", PASSWORD, "192.0.2.1") == 0


@pytest_twisted.ensureDeferred
async def test_tokens_expire_and_are_revoked_and_only_digests_are_kept(
    sign_in: SignIn, database: Database
) -> None:
    async def tokens(tx: Transaction) -> None:
        past = datetime.now(UTC) - timedelta(seconds=1)
        expired = await people.create_token(tx, "admin", "old", expires_at=past)
        live = await people.create_token(tx, "admin", "live")
        assert live.startswith("hs_")
        assert await people.operator_of_token(tx, expired) is None
        assert await people.operator_of_token(tx, live) == "admin"
        assert await people.operator_of_token(tx, live[:-1]) is None
        entry = (await people.list_tokens(tx, "admin"))[0]
        assert entry.label == "live"
        kept = await tx.rows("SELECT api_token::text FROM api_token")
        assert live not in str(kept)
        assert not await people.revoke_token(tx, "someone", entry.id)
        assert await people.revoke_token(tx, "admin", entry.id)
        assert await people.operator_of_token(tx, live) is None

    await database.transaction(PROVIDER, tokens, name="tokens")


@pytest_twisted.ensureDeferred
async def test_signing_in_gives_a_new_session_and_ends_the_old(
    sign_in: SignIn, database: Database
) -> None:
    async def sign(tx: Transaction) -> None:
        before = await web_sessions.begin_session(tx)
        after = await web_sessions.sign_in_session(tx, before.cookie, "admin")
        assert after.cookie != before.cookie
        assert after.session.csrf != before.session.csrf
        assert await web_sessions.find_session(tx, before.cookie) is None
        found = await web_sessions.find_session(tx, after.cookie)
        assert found is not None
        assert found.operator == "admin"
        assert found.accepts(after.session.csrf)
        assert not found.accepts(before.session.csrf)
        await people.set_password(tx, "admin", "hash")
        assert await web_sessions.find_session(tx, after.cookie) is None

    await database.transaction(PROVIDER, sign, name="sign")


@pytest.mark.parametrize(
    "change", ["expires_at = now()", "seen_at = now() - interval '61 minutes'"]
)
@pytest_twisted.ensureDeferred
async def test_sessions_end_by_age_and_by_idleness(database: Database, change: str) -> None:
    async def age(tx: Transaction) -> None:
        begun = await web_sessions.begin_session(tx)
        await tx.run(f"UPDATE web_session SET {change}")
        assert await web_sessions.find_session(tx, begun.cookie) is None

    await database.transaction(PROVIDER, age, name="age")
    assert await database.transaction(PROVIDER, web_sessions.purge_sessions, name="purge") == 1


@pytest.mark.parametrize("cookie", ["", "\r\n", "x" * 100_000, "\ud800"])
@pytest_twisted.ensureDeferred
async def test_a_strange_cookie_is_nobodys(database: Database, cookie: str) -> None:
    found = await database.transaction(
        PROVIDER, lambda tx: web_sessions.find_session(tx, cookie), name="find"
    )
    assert found is None
