"""named.conf: what it holds, when named is restarted, and which servers are refused."""

import re

import msgspec
import pytest

from templates.bind.objects import BindSettings, ServerSpec
from templates.bind.service import BIND
from templates.effects import CheckBound, WriteFile
from templates.service_type import Endpoint, PlanRefusedError
from tests.unit.templates.bind.specs import (
    SECONDARY,
    SECRET,
    SERVER,
    context,
    master,
    plan_server,
    plan_zone,
)

replace = msgspec.structs.replace

GONE_IN_9_20 = """
    alt-transfer-source alt-transfer-source-v6 auto-dnssec coresize datasize delegation-only dscp
    files glue-cache lock-file parent-registration-delay random-device reserved-sockets
    resolver-nonbackoff-tries resolver-retry-interval root-delegation-only stacksize
    suppress-initial-notify tkey-dhkey use-alt-transfer-source
"""
"""What named.conf(5) of BIND 9.18.49 knows and that of 9.20.30 no longer does: named does not start
on one of these words."""


def named_conf(spec: ServerSpec) -> str:
    plan = plan_server(None, spec)
    (file,) = (
        item for item in plan.files if isinstance(item, WriteFile) and item.path == "named.conf"
    )
    assert file.mode == 0o640
    return file.content.decode()


def test_every_endpoint_is_listened_on_and_nothing_else() -> None:
    text = named_conf(
        replace(
            SERVER,
            endpoints=(
                Endpoint(address="192.0.2.1", port=53),
                Endpoint(address="192.0.2.2", port=53),
                Endpoint(address="192.0.2.1", port=5353),
                Endpoint(address="2001:db8::1", port=53),
            ),
        )
    )
    assert [line.strip() for line in text.splitlines() if "listen-on" in line] == [
        "listen-on port 53 { 192.0.2.1; 192.0.2.2; };",
        "listen-on port 5353 { 192.0.2.1; };",
        "listen-on-v6 port 53 { 2001:db8::1; };",
    ]


def test_without_ipv6_named_does_not_look_for_it() -> None:
    assert "listen-on-v6 { none; };" in named_conf(SERVER)
    assert BIND.daemon.start(context())[0] == "-4"
    v6 = replace(SERVER, endpoints=(Endpoint(address="2001:db8::1", port=53),))
    assert "listen-on { none; };" in named_conf(v6)
    assert "-4" not in BIND.daemon.start(context(v6))


def test_no_option_is_written_that_a_newer_named_no_longer_has() -> None:
    words = set(re.findall(r"[a-z0-9-]+", named_conf(SERVER)))
    zone = plan_zone(None, master()).control + plan_zone(None, SECONDARY).control
    words |= set(re.findall(r"[a-z0-9-]+", repr(zone)))
    assert {"options", "pid-file", "notify-delay", "min-refresh-time"} <= words
    assert words & set(GONE_IN_9_20.split()) == set()


def test_another_address_is_a_reconfiguration_and_another_control_port_a_restart() -> None:
    moved = replace(SERVER, endpoints=(Endpoint(address="192.0.2.9", port=53),))
    assert (plan_server(SERVER, moved).reload, plan_server(SERVER, moved).restart) == (True, False)
    other = replace(SERVER, settings=BindSettings(control_port=954))
    assert (plan_server(SERVER, other).reload, plan_server(SERVER, other).restart) == (False, True)


def test_the_candidate_is_checked_alone() -> None:
    bound, check = plan_server(None, SERVER).checks
    assert bound == CheckBound("192.0.2.53")
    assert check.program == "named-checkconf"
    assert check.arguments == ("/srv/lane/.named.conf.candidate",)


def test_every_address_must_be_on_the_box_and_answer() -> None:
    both = (Endpoint(address="192.0.2.53", port=53), Endpoint(address="192.0.2.54", port=5353))
    plan = plan_server(SERVER, replace(SERVER, endpoints=both))
    assert plan.checks[:2] == (CheckBound("192.0.2.53"), CheckBound("192.0.2.54"))
    first, second = plan.probes
    assert (first.address, second.address, second.port) == ("", "192.0.2.54", 5353)


@pytest.mark.parametrize(
    "change",
    [
        {"endpoints": ()},
        {"endpoints": (Endpoint(address="192.0.2.1", port=0),)},
        {"endpoints": (Endpoint(address="any; }; //", port=53),)},
        {"endpoints": (Endpoint(address="", port=53),)},
        {"transfer_key": replace(SERVER.transfer_key, name='a"; };')},
        {"transfer_key": replace(SERVER.transfer_key, name="")},
        {"transfer_key": replace(SERVER.transfer_key, name="heliosphere-control")},
        {"transfer_key": replace(SERVER.transfer_key, algorithm="hmac-md5")},
        {"transfer_key": replace(SERVER.transfer_key, secret="not base64 !")},
        {"transfer_key": replace(SERVER.transfer_key, secret="c2hvcnQ=")},
        {"transfer_key": replace(SERVER.transfer_key, secret="")},
    ],
    ids=str,
)
def test_a_server_that_could_not_serve_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(PlanRefusedError):
        plan_server(None, replace(SERVER, **change))


def test_the_control_channel_is_on_loopback_with_the_lane_s_own_key() -> None:
    assert BIND.daemon.control is not None
    endpoint = BIND.daemon.control(context())
    assert (endpoint.address, endpoint.port, endpoint.secret) == ("127.0.0.1", 953, SECRET)
    assert "inet 127.0.0.1 port 953" in named_conf(SERVER)
