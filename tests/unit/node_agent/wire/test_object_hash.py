import pytest

from node_agent.wire.object_hash import MODULUS, as_text, from_text


@pytest.mark.parametrize("total", [0, 1, MODULUS - 1])
def test_a_hash_is_read_as_it_was_written(total: int) -> None:
    assert from_text(as_text(total)) == total


@pytest.mark.parametrize("text", ["", "-1", "0x12", " 1", "1_0", "f" * 33, "9" * 5000, "\u0661"])
def test_a_text_that_the_database_could_not_hold_is_no_hash(text: str) -> None:
    with pytest.raises(ValueError, match="not a hash"):
        from_text(text)
