"""The control channel: one command at a time, one kept connection, no reply believed unproven."""

import pytest
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.error import ConnectionRefusedError as RefusedError
from twisted.python.failure import Failure

from node_agent.effects import isccc
from node_agent.effects.failures import BoxUnavailableError, EffectFailedError
from node_agent.effects.rndc import COMMAND_TIMEOUT, ZoneControl
from templates.effects import AddZone, ControlEffect, ReloadZone, RemoveZone
from tests.unit.node_agent.effects.fake_named import FakeNamed, reply_body, signed

CONFIG = 'type master; file "/z"; allow-transfer { none; };'
SHOWN = 'zone "a.test" { type primary; file "/z"; allow-transfer  { "none"; }; };'


@pytest.fixture
def named() -> FakeNamed:
    return FakeNamed()


def command(named: FakeNamed, text: str) -> "Deferred[str]":
    return ensureDeferred(named.channel.command(text))


def apply(named: FakeNamed, effect: ControlEffect) -> "Deferred[ControlEffect | None]":
    return ensureDeferred(ZoneControl(named.channel).apply(effect))


def result(deferred: "Deferred[object]") -> object:
    results: list[object] = []
    deferred.addBoth(results.append)
    assert results, "still waiting"
    if isinstance(results[0], Failure):
        results[0].raiseException()
    return results[0]


def test_one_connection_is_kept_for_many_commands(named: FakeNamed) -> None:
    for number in range(3):
        waiting = command(named, f"command {number}")
        if number == 0:
            named.accept()
        assert named.asked() == f"command {number}"
        named.answer(text=f"answer {number}")
        assert result(waiting) == f"answer {number}"
    assert len(named.transports) == 1


def test_a_second_command_waits_for_the_first(named: FakeNamed) -> None:
    first, second = command(named, "first"), command(named, "second")
    named.accept()
    assert named.asked() == "first"
    named.answer(text="1")
    assert result(first) == "1"
    assert named.asked() == "second"
    named.answer(text="2")
    assert result(second) == "2"


def test_after_an_idle_close_the_next_command_connects_anew(named: FakeNamed) -> None:
    waiting = command(named, "one")
    named.accept()
    named.answer(text="1")
    named.hang_up()
    waiting = command(named, "two")
    named.accept()
    named.answer(text="2", nonce=b"77")
    assert result(waiting) == "2"
    assert len(named.transports) == 2


def test_a_command_is_sent_once_more_where_the_link_breaks_under_it(named: FakeNamed) -> None:
    waiting = command(named, "one")
    named.accept()
    named.hang_up()
    named.accept()
    assert named.asked() == "one"
    named.answer(text="1")
    assert result(waiting) == "1"


def test_a_link_that_breaks_twice_is_unavailable(named: FakeNamed) -> None:
    waiting = command(named, "one")
    for _ in range(2):
        named.accept()
        named.hang_up()
    with pytest.raises(BoxUnavailableError):
        result(waiting)


def test_no_named_is_unavailable(named: FakeNamed) -> None:
    waiting = command(named, "one")
    named.reactor.tcpClients[-1][2].clientConnectionFailed(None, Failure(RefusedError()))
    with pytest.raises(BoxUnavailableError, match="953"):
        result(waiting)


def test_named_s_own_words_are_told(named: FakeNamed) -> None:
    waiting = command(named, "one")
    named.accept()
    named.answer(result=25, err="failure", text="configure_zone failed")
    with pytest.raises(EffectFailedError, match="failure: configure_zone failed"):
        result(waiting)


def test_silence_ends_at_the_deadline_and_the_next_command_is_not_confused(
    named: FakeNamed,
) -> None:
    waiting = command(named, "one")
    named.accept()
    named.reactor.advance(COMMAND_TIMEOUT)
    with pytest.raises(BoxUnavailableError, match="did not answer"):
        result(waiting)
    assert named.transport.aborted
    waiting = command(named, "two")
    named.accept()
    named.answer(text="2")
    assert result(waiting) == "2"
    assert not named.reactor.getDelayedCalls()


def test_a_cancelled_command_leaves_no_reply_to_the_next_one(named: FakeNamed) -> None:
    waiting = command(named, "one")
    named.accept()
    waiting.cancel()
    with pytest.raises(CancelledError):
        result(waiting)
    assert named.transport.aborted
    assert not named.reactor.getDelayedCalls()


@pytest.mark.parametrize(
    "forge",
    [
        lambda serial: signed(reply_body(serial), "c3RyYW5nZXI="),
        lambda serial: signed(reply_body(serial - 1)),
        lambda serial: signed(reply_body(serial, nonce=b"78")),
        lambda serial: signed(reply_body(serial, now=-3600)),
        lambda serial: signed(b""),
        lambda serial: b"\x7f\xff\xff\xff",
        lambda serial: b"\0\0\0\0",
    ],
    ids=["another key", "another command", "another nonce", "old", "empty", "too long", "nothing"],
)
def test_a_reply_that_is_not_named_s_to_this_command_is_not_believed(
    named: FakeNamed, forge: object
) -> None:
    waiting = command(named, "one")
    named.accept()
    named.send(forge(named.serial))  # type: ignore[operator]
    if len(named.reactor.tcpClients) > 1:
        named.accept()
        named.send(forge(named.serial))  # type: ignore[operator]
    with pytest.raises(BoxUnavailableError):
        result(waiting)
    assert named.transport.aborted


def test_a_reply_in_pieces_is_put_together(named: FakeNamed) -> None:
    waiting = command(named, "one")
    named.accept()
    for byte in signed(reply_body(named.serial, text="all of it")):
        named.send(bytes([byte]))
    assert result(waiting) == "all of it"


@pytest.mark.parametrize(
    "text", ["a\nb", "a\0b", "x" * (isccc.MAX_REQUEST + 1)], ids=["1", "2", "3"]
)
def test_a_command_that_named_could_not_take_is_not_sent(named: FakeNamed, text: str) -> None:
    with pytest.raises(EffectFailedError):
        result(command(named, text))
    assert not named.reactor.tcpClients


# --- zones ---


def test_an_added_zone_is_undone_by_its_removal(named: FakeNamed) -> None:
    waiting = apply(named, AddZone("a.test", CONFIG))
    named.accept()
    assert named.asked() == f"addzone a.test {{ {CONFIG} }};"
    named.answer()
    assert result(waiting) == RemoveZone("a.test")


def test_an_existing_zone_with_this_configuration_is_only_loaded_again(named: FakeNamed) -> None:
    waiting = apply(named, AddZone("a.test", CONFIG))
    named.accept()
    named.answer(result=18, err="already exists")
    assert named.asked() == "showzone a.test"
    named.answer(text=SHOWN)
    assert named.asked() == "reload a.test"
    named.answer(text="zone reload queued")
    inverse = result(waiting)
    assert isinstance(inverse, AddZone)
    assert inverse.config in SHOWN


def test_an_existing_zone_with_another_configuration_is_modified_and_loaded(
    named: FakeNamed,
) -> None:
    waiting = apply(named, AddZone("a.test", CONFIG))
    named.accept()
    named.answer(result=18, err="already exists")
    named.answer(text='zone "a.test" { type master; file "/other"; };')
    assert named.asked() == f"modzone a.test {{ {CONFIG} }};"
    named.answer()
    assert named.asked() == "reload a.test"
    named.answer()
    assert result(waiting) == AddZone("a.test", 'type master; file "/other";')


def test_a_changed_role_that_named_refuses_brings_the_former_zone_back(named: FakeNamed) -> None:
    former = 'type slave; file "/s"; masters { 192.0.2.1; };'
    waiting = apply(named, AddZone("a.test", CONFIG))
    named.accept()
    named.answer(result=18, err="already exists")
    named.answer(text=f'zone "a.test" {{ {former} }};')
    assert named.asked() == "delzone a.test"
    named.answer()
    named.answer(result=3, err="file not found")
    assert named.asked() == f"addzone a.test {{ {former} }};"
    named.answer()
    with pytest.raises(EffectFailedError, match="file not found"):
        result(waiting)


def test_a_removed_zone_comes_back_with_its_former_configuration(named: FakeNamed) -> None:
    waiting = apply(named, RemoveZone("a.test"))
    named.accept()
    named.answer(text=SHOWN)
    assert named.asked() == "delzone a.test"
    named.answer()
    assert result(waiting) == AddZone(
        "a.test", 'type primary; file "/z"; allow-transfer  { "none"; };'
    )


def test_a_zone_that_is_not_there_needs_no_removal(named: FakeNamed) -> None:
    waiting = apply(named, RemoveZone("a.test"))
    named.accept()
    named.answer(result=23, err="not found", text="no matching zone")
    assert result(waiting) is None


@pytest.mark.parametrize("words", ["zone reload queued", "zone reload successful", ""])
def test_a_reload_is_undone_by_a_reload(named: FakeNamed, words: str) -> None:
    effect = ReloadZone("a.test", CONFIG)
    waiting = apply(named, effect)
    named.accept()
    assert named.asked() == "reload a.test"
    named.answer(text=words)
    assert result(waiting) == effect


def test_a_zone_whose_file_named_did_not_read_is_read_anew(named: FakeNamed) -> None:
    """Its time stamp is before the last load, as after a step of the clock."""
    effect = ReloadZone("a.test", CONFIG)
    waiting = apply(named, effect)
    named.accept()
    assert named.asked() == "reload a.test"
    named.answer(text="zone reload up-to-date")
    assert named.asked() == "delzone a.test"
    named.answer()
    assert named.asked() == f"addzone a.test {{ {CONFIG} }};"
    named.answer()
    assert result(waiting) == effect


def test_a_reload_of_a_lost_zone_adds_it(named: FakeNamed) -> None:
    waiting = apply(named, ReloadZone("a.test", CONFIG))
    named.accept()
    named.answer(result=23, err="not found")
    assert named.asked() == f"addzone a.test {{ {CONFIG} }};"
    named.answer()
    assert result(waiting) == RemoveZone("a.test")


@pytest.mark.parametrize(
    "zone", ["", "a test", "a;b", "a{", 'a"b', "a\nb", "A.test", "-clean\tx", "a" * 254, "*"]
)
def test_a_name_that_would_end_its_word_is_not_sent(named: FakeNamed, zone: str) -> None:
    for effect in (AddZone(zone, CONFIG), RemoveZone(zone), ReloadZone(zone, CONFIG)):
        with pytest.raises(EffectFailedError):
            result(apply(named, effect))
    assert not named.reactor.tcpClients


@pytest.mark.parametrize(
    "config",
    [
        "type master; }; zone b { type master;",
        "} {",
        "type master; {",
        'file "a',
        'file "a\\";"',
        "a\nb",
        'file "}"; }',
    ],
)
def test_a_configuration_that_would_end_its_braces_is_not_sent(
    named: FakeNamed, config: str
) -> None:
    with pytest.raises(EffectFailedError):
        result(apply(named, AddZone("a.test", config)))
    assert not named.reactor.tcpClients


def test_who_waits_in_line_does_not_wait_for_a_silent_named_each_in_turn(named: FakeNamed) -> None:
    waiting = [command(named, f"command {number}") for number in range(300)]
    named.accept()
    named.reactor.advance(COMMAND_TIMEOUT)
    for each in waiting:
        with pytest.raises(BoxUnavailableError, match="did not answer"):
            result(each)
    assert len(named.transports) == 1
    later = command(named, "later")
    named.accept()
    named.answer(text="well again")
    assert result(later) == "well again"
