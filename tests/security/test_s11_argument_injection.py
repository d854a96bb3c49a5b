"""S11: no value of a model, a peer or a configuration becomes an option of a program.

Cases: Froxlor CVE-2026-100714 (``--renew-hook``), Salt CVE-2021-3197 (``ProxyCommand``), Hestia
CVE-2026-108390.

Every builder of arguments is tried with values that begin with ``-``, hold spaces or ``=``: such a
value is refused, stands behind ``--``, or is what the option before it takes.
"""

import shlex
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Any

import attrs
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from controller.bootstrap.job import SshJob
from controller.bootstrap.procedure import Ended, Preparation, look_line, prepare_box
from node_agent.box import daemons
from node_agent.box.interface import is_lane_id
from node_agent.effects import rndc
from node_agent.effects.failures import EffectFailedError
from node_agent.effects.host_network import Assigned, add_arguments, again_arguments
from node_agent.managed import may_be_managed
from node_agent.systemd_units import SystemdUnits
from templates.apache.service import APACHE
from templates.bind.service import BIND
from templates.effects import AddZone, ReloadZone, RemoveZone
from templates.service_type import LaneContext
from tests.security.test_s17_config_injection_apache import CASE
from tests.strategies import hostile_texts
from tests.unit.templates.bind.specs import SERVER

OPTIONS = (
    *("--pre-hook=touch /tmp/p", "--help", "-rf", "-", "--", "-oProxyCommand=id", "--root=/"),
    *("-H evil", "a b", "a=b", "a --now", " -x", "-x\n", "\t-x", "=", "@/etc/passwd", "-n.service"),
    "--.service",
)
values = st.one_of(
    st.sampled_from(OPTIONS),
    hostile_texts,
    st.builds("{}{}".format, st.sampled_from(("-", "--", " -", "\u2010")), hostile_texts),
)


def run_now(coroutine: Any) -> Any:
    """Run what waits for nothing."""
    outcome: list[Any] = []
    deferred = Deferred.fromCoroutine(coroutine)
    deferred.addCallbacks(outcome.append, lambda failure: outcome.append(failure.value))
    (found,) = outcome
    if isinstance(found, BaseException):
        raise found
    return found


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What would be started: program and arguments. It ends well and says nothing."""
    noted: list[tuple[str, ...]] = []

    async def note(reactor: Any, table: Any, program: str, arguments: Any, **more: Any) -> Any:
        noted.append((program, *arguments))
        return attrs.make_class("Finished", ["status", "output"])(0, "")

    monkeypatch.setattr("node_agent.box.daemons.run_program", note)
    monkeypatch.setattr("node_agent.systemd_units.run_program", note)
    return noted


def behind_dashes(argv: Sequence[str], value: str) -> bool:
    """Tell whether a value stands once, as the last argument, behind ``--``."""
    return argv.count("--") == 1 and argv.index("--") == len(argv) - 2 and argv[-1] == value


# --- systemctl and journalctl ---


def test_a_lane_is_one_argument_behind_the_options(started: list[tuple[str, ...]]) -> None:
    units = daemons.SystemdDaemons(None, {})  # type: ignore[arg-type]

    @given(values | st.uuids().map(str))
    @example("aaaaaaaa-0000-4000-8000-000000000001")
    def tried(lane: str) -> None:
        context = LaneContext(lane, None, PurePosixPath("/srv"), daemon_user=None)
        for act in (units.running, units.start, units.restart, units.stop, units.reload):
            started.clear()
            for service_type in (BIND, APACHE):
                try:
                    run_now(act(context, service_type.daemon))
                except EffectFailedError:
                    assert started == [] or is_lane_id(lane)
            unit = f"@{lane}.service"
            for program, *argv in started:
                assert program == "systemctl"
                assert argv[-1].endswith(unit)
                assert behind_dashes(argv, argv[-1])
                assert not any(sign in argv[-1] for sign in " =\n\t")

    tried()


def test_a_granted_service_is_one_argument_behind_the_options(
    started: list[tuple[str, ...]],
) -> None:
    @given(values | st.builds("{}.service".format, values))
    @example("cron.service")
    def tried(unit: str) -> None:
        if not may_be_managed("name", unit):
            return  # agent.toml with it is refused
        units = SystemdUnits(None, {}, {"name": unit})  # type: ignore[arg-type]
        started.clear()
        run_now(units.act("name", "restart", 1.0))
        run_now(units.log("name", 5, 1.0))
        act, log = started
        assert behind_dashes(act, unit)
        assert log[:3] == ("journalctl", "--unit", unit)
        assert not unit.startswith("-")
        assert not any(sign in unit for sign in " =\n\t/")

    tried()


# --- the daemons and their checkers ---


def command_lines(root: PurePosixPath, user: str) -> list[tuple[str, ...]]:
    """Give how the daemons and their checkers are started."""
    found = []
    for service_type, server in ((BIND, SERVER), (APACHE, CASE.server)):
        context = LaneContext("l1", server, root, daemon_user=user)
        check = service_type.daemon.check
        found.append(tuple(service_type.daemon.start(context)))
        if check is not None:
            found.append(tuple(check(context).arguments))
    return found


@given(values.filter(lambda text: "\0" not in text))
@example("-f")
def test_daemons_and_checkers_get_paths_below_an_absolute_root(value: str) -> None:
    root = PurePosixPath("/srv") / value.lstrip("/") if value.strip("/") else PurePosixPath("/srv")
    harmless = command_lines(PurePosixPath("/srv/lane"), "nobody")
    for argv, usual in zip(command_lines(root, value), harmless, strict=True):
        for position, (argument, own) in enumerate(zip(argv, usual, strict=True)):
            if argument == own:
                continue
            if argument.startswith("-"):
                assert argv[position - 1] == "-u", argv  # the option takes it, whatever it is
            elif own != "nobody":
                assert argument.startswith("/srv"), argv


# --- ip ---


@given(values, st.ip_addresses(), st.integers(0, 128))
def test_an_interface_is_what_the_word_before_it_takes(link: str, address: Any, mask: int) -> None:
    argv = add_arguments(link, address, mask)
    assert argv[:5] == ("address", "add", f"{address}/{mask}", "dev", link)
    assert argv[5:] in ((), ("label", f"{link}{argv[-1][len(link) :]}"))


@given(values, values, st.ip_addresses())
def test_what_is_put_back_is_pairs_of_a_word_and_its_value(
    link: str, label: str, address: Any
) -> None:
    assigned = Assigned(local=str(address), prefixlen=24, label=label, broadcast="")
    argv = again_arguments(link, assigned)
    assert argv[:5] == ("address", "add", f"{address}/24", "dev", link)
    assert list(argv[5::2]) == ["label"] * bool(label)


# --- named's control channel, which takes a line of words ---


class Line:
    """A control channel that notes its commands."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    async def command(self, command: str) -> str:
        self.commands.append(command)
        return ""


ZONE_COMMANDS: dict[str, Callable[[rndc.ZoneControl, str], Any]] = {
    "addzone": lambda control, zone: control.apply(AddZone(zone, "type primary")),
    "delzone": lambda control, zone: control.apply(RemoveZone(zone)),
    "reload": lambda control, zone: control.apply(ReloadZone(zone, "type primary")),
    "showzone": lambda control, zone: control.configuration(zone),
    "retransfer": lambda control, zone: control.retransfer(zone),
}


@pytest.mark.parametrize("verb", ZONE_COMMANDS)
def test_a_zone_is_one_word_of_a_command_and_no_option(verb: str) -> None:
    @given(values)
    @example("-clean")
    @example("a.test IN other")
    @example("shop.test")
    def tried(zone: str) -> None:
        line = Line()
        control = rndc.ZoneControl(line)  # type: ignore[arg-type]
        try:
            run_now(ZONE_COMMANDS[verb](control, zone))
        except EffectFailedError:
            assert line.commands == []
            return
        for command in line.commands:
            words = command.split(" ")
            assert words[1] == zone
            assert not zone.startswith("-")
            assert len(words) == 2 or words[2] == "{"

    tried()


@given(values)
def test_a_configuration_stays_between_its_braces(config: str) -> None:
    line = Line()
    try:
        run_now(rndc.ZoneControl(line).apply(AddZone("a.test", config)))  # type: ignore[arg-type]
    except EffectFailedError:
        return
    command = line.commands[0]
    assert command == f"addzone a.test {{ {config} }};"
    depths, depth, quoted = [], 0, False
    for sign in command[len("addzone a.test ") :]:
        quoted ^= sign == '"'
        depth += 0 if quoted else {"{": 1, "}": -1}.get(sign, 0)
        depths.append(depth)
    assert depths.index(0) == len(depths) - 2


# --- the line that a box's shell gets when it is enrolled over SSH ---


class Shell:
    """Notes the lines for the box's shell; answers as a new box."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    async def run(self, command: str, *, given: str = "", seconds: float) -> Ended:
        self.lines.append((command, given))
        return Ended(0, "0\nLinux\nprogram\nnew\n")


@given(values.filter(lambda text: "\0" not in text), values.filter(lambda text: "\0" not in text))
def test_what_is_sent_to_a_box_over_ssh_is_words_of_one_command(name: str, endpoint: str) -> None:
    preparation = Preparation(program=name, certificate=f"/x/{name}")
    words = shlex.split(look_line(preparation).replace(";", " ; "))
    assert words.count("id") == 1
    shell = Shell()
    job = SshJob(1, "b", name, "root", "h", 22, "k", False, "true", endpoint, "tok en", name)

    async def tell(step: object) -> None:
        return

    run_now(prepare_box(shell, job, preparation, tell))
    enrol = next((line, given) for line, given in shell.lines if " enrol " in line)
    assert shlex.split(enrol[0]) == [name, "enrol", "--controller", endpoint, "-", "2>&1"]
    assert enrol[1] == "tok en\n"
    for line, _ in shell.lines:
        assert "tok en" not in line
