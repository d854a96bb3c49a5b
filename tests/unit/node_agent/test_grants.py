"""What the box's owner allows at most: read from a file of the owner's, kept whoever asks."""

from ipaddress import ip_network
from pathlib import Path, PurePosixPath

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st

from node_agent.config import read_config
from node_agent.grants import Grants, read_grants, told
from node_agent.owned_file import ConfigError
from templates.apache.objects import ApacheSettings, ServerSpec
from templates.apache.service import APACHE
from templates.effects import AddressDown, AddressUp, CheckProgram, UnitPlan
from templates.registry import SERVICE_TYPES
from tests.unit.node_agent.bench_of_one import Bench, Received, page, server, zone


def write(tmp_path: Path, text: str, mode: int = 0o644) -> Path:
    path = tmp_path / "grants.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_the_owner_of_a_box_names_what_may_be_touched(tmp_path: Path) -> None:
    found = read_grants(
        write(
            tmp_path,
            """
service_types = ["bind"]
addresses = ["192.0.2.0/24", "2001:db8::/64"]
directories = ["/home"]
[programs]
named = "/usr/sbin/named"
[services]
cron = "cron.service"
ssh = "ssh@main.service"
""",
        )
    )
    assert (found.allows_type("bind"), found.allows_type("apache")) == (True, False)
    assert found.addresses == (ip_network("192.0.2.0/24"), ip_network("2001:db8::/64"))
    assert found.programs == {"named": PurePosixPath("/usr/sbin/named")}
    assert found.services == {"cron": "cron.service", "ssh": "ssh@main.service"}
    assert told(found)["service types"] == "bind"


def test_without_a_file_of_grants_no_program_may_be_run(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text('state = "/var/lib/x"\n')
    config.chmod(0o644)
    grants = read_config(config).grants
    assert grants == Grants()
    assert "named" in grants.refusal(UnitPlan(unit="u", checks=(CheckProgram("named", ()),)))


@pytest.mark.parametrize("mode", [0o666, 0o664, 0o646])
def test_s12_a_file_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ConfigError, match="may be written by others"):
        read_grants(write(tmp_path, "", mode))


@pytest.mark.parametrize(
    "row",
    [
        'cron = "cron"',
        'cron = "--all.service"',
        'cron = "a b.service"',
        'Cron = "cron.service"',
        'agent = "heliosphere-agent.service"',
        'named = "heliosphere-named@x.service"',
        '"" = "cron.service"',
    ],
)
def test_a_row_that_is_no_service_is_refused(tmp_path: Path, row: str) -> None:
    with pytest.raises(ConfigError, match="services"):
        read_grants(write(tmp_path, f"[services]\n{row}\n"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('directories = ["home"]', "absolute"),
        ('directories = ["/home/../etc"]', "absolute"),
        ('[programs]\nnamed = "named"', "absolute"),
        ('addresses = ["192.0.2.1/24"]', "host bits"),
        ('addresses = "192.0.2.0/24"', "array"),
        ("everything = true", "everything"),
        ("[programs", "grants.toml"),
    ],
)
def test_a_file_that_says_nothing_certain_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_grants(write(tmp_path, text))


NETWORKS = Grants(addresses=(ip_network("192.0.2.0/28"), ip_network("2001:db8::/120")))


@given(st.ip_addresses())
def test_an_address_is_granted_by_its_network_alone(address: object) -> None:
    plan = UnitPlan(unit="a", control=(AddressUp(str(address), 24),))
    assert NETWORKS.addresses is not None
    inside = any(address in network for network in NETWORKS.addresses)
    assert (NETWORKS.refusal(plan) == "") is inside


def test_an_address_in_a_granted_network_is_brought_up_and_any_is_taken_down() -> None:
    up = UnitPlan(unit="a", control=(AddressUp("192.0.2.7", 28), AddressUp("2001:db8::7", 120)))
    assert NETWORKS.refusal(up) == ""
    down = UnitPlan(unit="a", control=(AddressDown("203.0.113.7"),))
    assert NETWORKS.refusal(down) == ""


@pytest.mark.parametrize(
    ("place", "granted"),
    [
        ("/home", True),
        ("/home/customers", True),
        ("/homes", False),
        ("/etc", False),
        ("/", False),
        ("/home/../etc", False),
    ],
)
def test_a_configuration_names_granted_directories_alone(place: str, granted: bool) -> None:
    spec = ServerSpec(
        name="web1", endpoints=(), settings=ApacheSettings(home_root=place), fallback=None
    )
    grants = Grants(directories=(PurePosixPath("/home"),))
    words = grants.refusal(UnitPlan(unit="server"), APACHE.directories(spec))
    assert (words == "") is granted


@pytest.mark.parametrize("name", sorted(SERVICE_TYPES))
def test_a_service_type_without_a_server_names_no_directory(name: str) -> None:
    assert SERVICE_TYPES[name].directories(None) == ()


@pytest_twisted.ensureDeferred
async def test_what_is_not_granted_is_refused_alone_and_said() -> None:
    bench = Bench()
    bench.box.grants = Grants(programs={"other": PurePosixPath("/usr/bin/other")})
    items = (server(1), zone("a.test", 2))
    work = await bench.engine.round(Received("history-1", 2, items), lambda r, d: None)
    words = {verdict.object.id.kind: verdict.message for verdict in work.verdicts}
    assert words["server"].startswith("not granted: ")
    assert "[programs] of grants.toml" in words["server"]


@pytest_twisted.ensureDeferred
async def test_an_object_that_is_not_granted_leaves_the_others_alone() -> None:
    bench = Bench()
    work = await bench.engine.round(Received("history-1", 1, (server(1),)), lambda r, d: None)
    await bench.engine.settle(work)
    bench.box.grants = Grants()
    items = (zone("a.test", 2), page("p1", 3))
    work = await bench.engine.round(Received("history-1", 3, items), lambda r, d: None)
    assert [one.step.changes[0].id.key for one in work.done] == ["a.test"]
    assert [verdict.object.id.key for verdict in work.verdicts] == ["p1"]
    assert [verdict.outcome for verdict in work.verdicts] == ["quarantined"]
