"""What a change keeps of a request, and what it refuses to carry."""

from typing import cast

import attrs
import pytest
import pytest_twisted

from controller.changes import MAX_SPEC, ChangeWriter, redacted, secret_field
from controller.principal import system
from controller.refusal import CommandError
from controller.storage.database import Transaction
from templates.bind.objects import ZONE, MasterZone, Record, StartOfAuthority


@attrs.frozen
class Request:
    """A request with something to hide."""

    name: str
    key: str | None = secret_field(default=None)


def test_a_secret_is_neither_in_the_change_nor_in_the_repr() -> None:
    assert redacted(Request("a", "hidden")) == {"name": "a", "key": "(secret)"}
    assert redacted(Request("a")) == {"name": "a", "key": None}
    assert "hidden" not in repr(Request("a", "hidden"))


@pytest_twisted.ensureDeferred
async def test_an_object_that_could_not_reach_its_box_is_refused() -> None:
    writer = ChangeWriter(cast(Transaction, None), system("test"), "x", {}, "")
    spec = MasterZone(
        serial=1,
        soa=StartOfAuthority(primary="ns.", contact="h."),
        records=(Record(owner="@", ttl=1, type="TXT", data="x" * MAX_SPEC),),
        secondaries=(),
    )
    with pytest.raises(CommandError) as caught:
        await writer.upsert("id", ZONE, "shop.test", spec)
    assert caught.value.id == "object.too-large"
