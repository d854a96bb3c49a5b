"""Who stands in the agents' door: a share for each address, once it is seen to keep places."""

import pytest

from controller.fleet.strangers import SILENT_SECONDS, SUSPECT_SECONDS, Crowd, neighbourhood

SHARE = 10


def crowd_of(**by_host: int) -> Crowd:
    crowd = Crowd(SHARE)
    for host, count in by_host.items():
        for number in range(count):
            assert crowd.came((host, number), host, 0.0)
    return crowd


def test_who_comes_in_great_numbers_and_proves_itself_soon_may_stay() -> None:
    crowd = crowd_of(fleet=50)
    assert crowd.overdue(SILENT_SECONDS - 0.1) == []
    for number in range(50):
        crowd.left(("fleet", number))
    assert crowd.overdue(100.0) == []
    assert all(crowd.came(("fleet", number), "fleet", 100.0) for number in range(50))


def test_the_silent_ones_of_one_address_go_down_to_its_share_the_oldest_first() -> None:
    crowd = crowd_of(silent=50, other=8)
    assert crowd.overdue(SILENT_SECONDS) == [("silent", number) for number in range(40)]


def test_an_address_that_kept_places_gets_no_more_than_its_share_for_a_while() -> None:
    crowd = crowd_of(silent=50)
    then = SILENT_SECONDS + 5.0
    for who in crowd.overdue(then):
        crowd.left(who)
    assert not crowd.came("again", "silent", then + 1.0)
    assert crowd.came("one", "other", then + 1.0)
    crowd.left("again")
    assert crowd.came("later", "silent", then + 1.0 + SUSPECT_SECONDS)


def test_boxes_of_a_suspect_address_that_prove_themselves_at_once_all_come_in() -> None:
    crowd = crowd_of(shared=50)
    for who in crowd.overdue(SILENT_SECONDS):
        crowd.left(who)
    crowd.left(("shared", 49))
    for number in range(500):
        at = SILENT_SECONDS + 1.0 + number * 0.005
        assert crowd.came(("box", number), "shared", at)
        if number >= 40:
            crowd.left(("box", number - 40))


def test_those_within_their_share_may_be_as_slow_as_they_like() -> None:
    assert crowd_of(slow=SHARE, slower=SHARE).overdue(19.0) == []


@pytest.mark.parametrize(
    ("host", "place"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("?", "?"),
    ],
)
def test_addresses_of_one_customer_are_taken_together(host: str, place: str) -> None:
    assert neighbourhood(host) == place
