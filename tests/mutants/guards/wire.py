"""Guards of the wire between controller and agent."""

from tests.mutants.mutant import Mutant

CODEC = "node_agent/wire/codec.py"
FRAMING = "node_agent/wire/framing.py"
_CODEC = "tests/unit/node_agent/wire/test_codec.py"
_BLOCKED = (
    "tests/unit/node_agent/test_connection.py"
    "::test_a_lane_is_called_blocked_where_the_controller_knows_the_word"
)
_FRAMING = "tests/unit/node_agent/wire/test_framing.py"

MUTANTS = (
    Mutant(
        "wire.frame-length",
        "S8",
        FRAMING,
        "        self.MAX_LENGTH = self.max_frame\n",
        "        self.MAX_LENGTH = 2**31\n",
        (f"{_FRAMING}::test_a_frame_that_is_announced_too_long_ends_the_connection",),
    ),
    Mutant(
        "wire.frame-size",
        "S8",
        CODEC,
        '    if len(frame) > MAX_FRAME:\n        raise WireError(f"a frame of',
        '    if False:\n        raise WireError(f"a frame of',
        (f"{_CODEC}::test_a_frame_that_is_too_large_is_neither_made_nor_read",),
    ),
    Mutant(
        "wire.before-the-handshake",
        "S1",
        FRAMING,
        "        if not self._established:\n            return\n",
        "",
        (f"{_FRAMING}::test_nothing_is_read_before_the_peer_is_verified",),
    ),
    Mutant(
        "wire.after-a-bad-frame",
        "S8",
        FRAMING,
        '        self.lose(f"refused: {error}")',
        "        pass",
        (f"{_FRAMING}::test_what_follows_a_bad_frame_is_not_read",),
    ),
    Mutant(
        "wire.depth",
        "S8",
        CODEC,
        "    elif depth == 0:\n",
        "    elif depth == -1000:\n",
        (f"{_CODEC}::test_nesting_is_bounded",),
    ),
    Mutant(
        "wire.nesting-ends-as-a-refusal",
        "S9",
        CODEC,
        '    except RecursionError:\n        raise WireError("nested too deeply") from None\n',
        "",
        (
            "tests/security/test_s08_hostile_agent.py::"
            "test_a_hostile_frame_ends_its_own_connection_alone[deep facts]",
        ),
        dies_of=("RecursionError",),
    ),
    Mutant(
        "wire.many-values",
        "S38",
        CODEC,
        "    if room <= 0:\n",
        "    if False:\n",
        (f"{_CODEC}::test_the_values_of_a_message_are_bounded_however_they_are_nested",),
    ),
    Mutant(
        "wire.integer-range",
        "S8",
        CODEC,
        "        if not -MAX_INTEGER <= value <= MAX_INTEGER:",
        "        if False:",
        (f"{_CODEC}::test_numbers_that_nobody_can_store_are_refused[-9223372036854775808]",),
    ),
    Mutant(
        "wire.not-a-number",
        "S8",
        CODEC,
        "        if not math.isfinite(value):",
        "        if False:",
        (f"{_CODEC}::test_numbers_that_nobody_can_store_are_refused[nan]",),
    ),
    Mutant(
        "wire.unknown-field",
        "S4",
        "node_agent/wire/messages.py",
        "    forbid_unknown_fields=True,\n",
        "",
        (f"{_CODEC}::test_a_field_that_is_not_of_the_protocol_is_refused",),
    ),
    Mutant(
        "wire.words-for-logs",
        "S13",
        CODEC,
        "c if c.isprintable() else",
        "c if c else",
        (f"{_CODEC}::test_a_peers_text_is_printable_and_bounded",),
    ),
    Mutant(
        "wire.older-hello",
        "P4",
        "node_agent/lane_reports.py",
        'condition="behind" if self.condition == "blocked" else self.condition',
        "condition=self.condition",
        (_BLOCKED,),
    ),
    Mutant(
        "wire.older-words",
        "P4",
        "node_agent/agent.py",
        "speaking(welcome.protocol, send)",
        "speaking(PROTOCOL_MAX, send)",
        (f"{_BLOCKED}[2-daemon-down]",),
    ),
)
