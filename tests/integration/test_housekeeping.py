"""What the controller does once an hour."""

import pytest_twisted

from controller.housekeeping import Housekeeping
from controller.principal import system
from controller.storage.database import Database, Transaction
from tests.conftest import LoggedErrors


@pytest_twisted.ensureDeferred
async def test_a_certificate_that_cannot_be_renewed_costs_no_other_work_its_turn(
    database: Database, logged_errors: LoggedErrors
) -> None:
    async def begin(tx: Transaction) -> None:
        await tx.run(
            "INSERT INTO idempotency (actor, key, request_hash, at)"
            " VALUES ('operator:ann', 'k', '\\x00', now() - interval '1 year')"
        )

    async def left(tx: Transaction) -> int:
        (count,) = await tx.row("SELECT count(*) FROM idempotency")
        return int(count)

    def renew_if_due() -> bool:
        raise OSError("no space left on device")

    await database.transaction(system("test"), begin, name="test")
    house = Housekeeping(database, renew_if_due)
    await house.keep()
    assert await database.transaction(system("test"), left, name="test") == 1
    await house.keep()
    assert await database.transaction(system("test"), left, name="test") == 0
    told = logged_errors.flush()
    assert ["no space left" in each for each in told] == [True, True]
