"""That addresses are asked for as they were typed."""

from pytest_twisted import ensureDeferred

from controller.cluster.addresses.ip_addresses import DeleteAddresses, EditAddress, ListAddresses
from tests.unit.controller.hsctl.conftest import Cli
from tests.web_site import Told


@ensureDeferred
async def test_a_range_is_deleted_with_its_number_and_an_address_edited(cli: Cli) -> None:
    cli.answers({"ip": "192.0.2.100"})
    range_ = ("192.0.2.100", "--to", "192.0.2.250", "--confirm", "151")
    assert (await cli.run("ip", "delete", *range_, "--yes")).code == 0
    edit = ("192.0.2.11", "--port", "80", "--mask", "32", "--new-port", "81")
    assert (await cli.run("ip", "edit", *edit)).code == 0
    assert [asked.request for asked in cli.written] == [
        DeleteAddresses("192.0.2.100", None, "192.0.2.250", 151),
        EditAddress("192.0.2.11", 80, "32", None, 81),
    ]


@ensureDeferred
async def test_addresses_are_listed_by_type_and_the_free_ones(cli: Cli) -> None:
    cli.runner.answer = lambda asked: Told({"items": [], "next": None})
    await cli.run("ip", "list", "web1.example.net", "--type", "dedicated", "--free")
    await cli.run("ip", "list")
    assert [asked.request for asked in cli.runner.asked] == [
        ListAddresses("web1.example.net", "dedicated", True, 500),
        ListAddresses(limit=500),
    ]


@ensureDeferred
async def test_each_warning_of_a_change_is_a_line_of_its_own_beside_the_answer(cli: Cli) -> None:
    added = [{"ip": "192.0.2.1", "port": 25, "type": "outgoing", "tag": None}]
    answer = {"lserver": "m", "added": added, "count": 1}
    add = ("ip", "add", "m", "--from", "192.0.2.1", "--mask", "24", "--type", "outgoing")
    cli.answers({**answer, "warnings": ["bring it up, by hand", "\x1bb"]})
    for more in ((), ("--dry-run",)):
        ended = await cli.run(*add, *more)
        assert "warning: bring it up, by hand\nwarning: \\x1bb\n" in ended.err
        assert "warnings" not in ended.out
    cli.answers({**answer, "warnings": []})
    ended = await cli.run(*add)
    assert "warning" not in ended.out + ended.err
