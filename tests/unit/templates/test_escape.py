"""Escaping: what cannot be carried unchanged is refused, all else comes back as it was."""

import html

import dns.name
import dns.rdata
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from templates import escape
from templates.escape import ESCAPES, EscapeError

BREAKING = ["\n", "\r", "\0", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\u202e", "\ufeff"]


@pytest.mark.parametrize("name", ["named_string", "named_word", "apache_argument", "html_text"])
@pytest.mark.parametrize("character", BREAKING, ids=ascii)
def test_a_character_that_cannot_be_printed_is_refused_everywhere(
    name: str, character: str
) -> None:
    with pytest.raises(EscapeError):
        ESCAPES[name](f"a{character}b")


@pytest.mark.parametrize("name", sorted(ESCAPES))
@pytest.mark.parametrize("value", [None, b"bytes", 1.5, True, -1, 2**32, ["list"]], ids=repr)
def test_a_value_of_another_kind_is_refused(name: str, value: object) -> None:
    with pytest.raises(EscapeError):
        ESCAPES[name](value)


@pytest.mark.parametrize("value", ['a"b', "a\\b", '"; }; zone "x"', "\\"])
def test_named_strings_take_no_quote_and_no_backslash(value: str) -> None:
    with pytest.raises(EscapeError):
        escape.named_string(value)


@given(st.text())
def test_a_named_string_holds_exactly_its_value(value: str) -> None:
    try:
        text = escape.named_string(value)
    except EscapeError:
        return
    assert text[0] == text[-1] == '"'
    assert text[1:-1] == value
    assert not set('"\\\n') & set(text[1:-1])


@given(st.text())
@example('" # \\" \\')
def test_an_apache_argument_reads_back_as_it_was(value: str) -> None:
    try:
        text = escape.apache_argument(value)
    except EscapeError:
        return
    assert text[0] == text[-1] == '"'
    read, inner = "", iter(text[1:-1])
    for character in inner:
        assert character != '"'
        read += next(inner) if character == "\\" else character
    assert read == value


@pytest.mark.parametrize("value", ["${HOME}", "a${", "x ${y} z"])
def test_apache_variables_are_refused(value: str) -> None:
    with pytest.raises(EscapeError):
        escape.apache_argument(value)


@given(st.text())
def test_html_text_reads_back_as_it_was(value: str) -> None:
    try:
        text = escape.html_text(value)
    except EscapeError:
        return
    assert not set("<>\"'") & set(text)
    assert html.unescape(text) == value


@pytest.mark.parametrize("value", ["", "a b", "a;", "{", "a\n", "-x", "ä", '"', "${x}", "a" * 129])
@pytest.mark.parametrize("name", ["named_word", "apache_word"])
def test_a_word_is_letters_digits_and_little_else(name: str, value: str) -> None:
    with pytest.raises(EscapeError):
        ESCAPES[name](value)


@pytest.mark.parametrize("value", ["", "1.2.3", "1.2.3.4;", "fe80::1%eth0", "::1]", "01.2.3.4"])
@pytest.mark.parametrize("name", ["named_address", "apache_address"])
def test_only_addresses_are_addresses(name: str, value: str) -> None:
    with pytest.raises(EscapeError):
        ESCAPES[name](value)


def test_addresses_are_written_as_their_syntax_asks() -> None:
    assert escape.named_address("2001:DB8::0001") == "2001:db8::1"
    assert escape.apache_address("2001:DB8::0001") == "[2001:db8::1]"
    assert escape.apache_address("192.0.2.1") == "192.0.2.1"


def test_names_of_a_zone_are_parsed_and_absolute() -> None:
    with pytest.raises(EscapeError):
        escape.zone_name(dns.name.from_text("a", None))
    with pytest.raises(EscapeError):
        escape.zone_name("a.test.")
    assert escape.zone_name(dns.name.from_text('a\\.b;"\\$.test.')) == 'a\\.b\\;\\"\\$.test.'


def test_data_of_a_zone_comes_from_parsed_data_only() -> None:
    with pytest.raises(EscapeError):
        escape.zone_rdata("A 192.0.2.1")
    rdata = dns.rdata.from_text("IN", "TXT", '"a\\"b;\\010$INCLUDE"')
    assert escape.zone_rdata(rdata) == 'TXT "a\\"b;\\010$INCLUDE"'
