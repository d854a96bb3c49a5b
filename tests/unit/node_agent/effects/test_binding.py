"""Whether a daemon could listen on an address, as the kernel of this machine says."""

import pytest

from node_agent.effects.binding import see_bound
from node_agent.effects.failures import EffectFailedError


def test_an_address_of_the_machine_is_one_to_listen_on() -> None:
    see_bound("127.0.0.1")


@pytest.mark.parametrize("address", ["203.0.113.254", "2001:db8::fffe"])
def test_r341_an_address_that_is_on_no_interface_is_told(address: str) -> None:
    with pytest.raises(EffectFailedError, match=f"{address} is not brought up on this box"):
        see_bound(address)
