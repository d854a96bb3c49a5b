"""The control channel's messages: read and written as named does, and nothing else accepted."""

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node_agent.effects import isccc
from tests.unit.node_agent.effects.fake_named import SECRET, field, reply_body, signed

KEY = base64.b64decode(SECRET)
NAMED_KEY = base64.b64decode("c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U=")
NAMED_REPLY = (
    b"\x00\x00\x00\x01\x05_auth\x02\x00\x00\x00c\x04hsha\x01\x00\x00\x00Y\xa3"
    b"HmDwIiwRAlZ1RgvIIE/AU74FiviiYqNvMOSXuxBaVn8=" + b"\x00" * 44 + b"\x05_ctrl\x02\x00\x00\x00["
    b"\x04_ser\x01\x00\x00\x00\t963531211\x04_tim\x01\x00\x00\x00\n1795447567"
    b"\x04_exp\x01\x00\x00\x00\n1795447627\x04_rpl\x01\x00\x00\x00\x011"
    b"\x06_nonce\x01\x00\x00\x00\t304868829"
    b"\x05_data\x02\x00\x00\x00\x1b\x04type\x01\x00\x00\x00\x04null\x06result\x01\x00\x00\x00\x010"
)
"""What BIND 9.18.49 answered to ``null``."""


def test_a_reply_of_a_real_named_is_read() -> None:
    assert isccc.reply(NAMED_KEY, NAMED_REPLY, now=1795447567) == isccc.Reply(
        serial=963531211, nonce=b"304868829", result=0, error="", text=""
    )


def test_a_reply_that_is_too_old_is_refused() -> None:
    with pytest.raises(isccc.ControlProtocolError, match="old"):
        isccc.reply(NAMED_KEY, NAMED_REPLY, now=1795447628)


@pytest.mark.parametrize("position", range(4, len(NAMED_REPLY), 7))
def test_a_changed_reply_is_refused(position: int) -> None:
    changed = bytearray(NAMED_REPLY)
    changed[position] ^= 1
    with pytest.raises(isccc.ControlProtocolError):
        isccc.reply(NAMED_KEY, bytes(changed), now=1795447567)


def test_a_reply_with_another_key_is_refused() -> None:
    with pytest.raises(isccc.ControlProtocolError, match="signed"):
        isccc.reply(KEY, NAMED_REPLY, now=1795447567)


def test_a_request_that_comes_back_is_no_reply() -> None:
    message = isccc.request(KEY, "status", serial=1, now=0, nonce=b"7")
    with pytest.raises(isccc.ControlProtocolError, match="not a reply"):
        isccc.reply(KEY, message[4:], now=0)


def test_what_stands_before_the_signature_is_refused() -> None:
    body = reply_body(1)
    message = signed(body)[4:]
    forged = message[:4] + body + message[4:]
    with pytest.raises(isccc.ControlProtocolError, match="begin"):
        isccc.reply(KEY, forged, now=0)


def nested(depth: int) -> bytes:
    body = b""
    for _ in range(depth):
        body = b"\x01a\x02" + struct.pack(">I", len(body)) + body
    return body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        field(b"_ctrl", b"text") + field(b"_data", {}),
        field(b"_ctrl", {b"_rpl": b"1"}) + field(b"_data", b""),
        reply_body(1) + field(b"_data", {}),
        reply_body(1).replace(
            b"\x06result\x01\x00\x00\x00\x010", b"\x06result\x01\x00\x00\x00\x01x"
        ),
        reply_body(1)[:-1],
        nested(5000),
        b"\x05_ctrl\x03\x00\x00\x00\x00",
        b"\x05_ctrl\x02\xff\xff\xff\xff",
    ],
    ids=range(9),
)
def test_a_signed_reply_that_makes_no_sense_is_refused(body: bytes) -> None:
    with pytest.raises(isccc.ControlProtocolError):
        isccc.reply(KEY, signed(body)[4:], now=0)


@given(st.binary(max_size=300))
def test_bytes_at_random_are_refused_in_our_own_words(data: bytes) -> None:
    with pytest.raises(isccc.ControlProtocolError):
        isccc.reply(KEY, data, now=0)
    with pytest.raises(isccc.ControlProtocolError):
        isccc.reply(KEY, b"\0\0\0\1" + data, now=0)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=200))
def test_lengths_count_bytes_and_not_characters(command: str) -> None:
    message = isccc.request(KEY, command, serial=5, now=9, nonce=None)
    (length,) = struct.unpack(">I", message[:4])
    assert length == len(message) - 4
    assert message.endswith(field(b"_data", {b"type": command.encode()}))
