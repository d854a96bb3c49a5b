import shlex
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki.enrolment import Token, TokenRefusedError
from tests.unit.pki.forge import BOX

FINGERPRINT = "ab" * 32
tokens = st.builds(
    Token,
    st.uuids().map(str),
    st.binary(min_size=32, max_size=32),
    st.binary(min_size=32, max_size=32).map(bytes.hex),
)


@given(tokens)
def test_a_token_survives_its_text(token: Token) -> None:
    assert Token.parse(token.text) == token


@given(tokens)
def test_a_token_is_one_word_for_any_shell(token: Token) -> None:
    assert shlex.quote(token.text) == token.text
    assert shlex.split(f"hs-agent enrol {token.text}")[2:] == [token.text]


@given(tokens, st.data())
def test_a_changed_token_is_another_token_or_none(token: Token, data: st.DataObject) -> None:
    text = token.text
    at = data.draw(st.integers(0, len(text)))
    changed = text[:at] + data.draw(st.text(max_size=2)) + text[at + data.draw(st.integers(0, 1)) :]
    try:
        parsed = Token.parse(changed)
    except TokenRefusedError:
        return
    assert parsed.text == changed
    assert (parsed == token) == (changed == text)


@given(st.text())
def test_text_is_refused_with_an_error_of_our_own(text: str) -> None:
    with pytest.raises(TokenRefusedError):
        Token.parse(text)


def test_the_last_letter_of_the_secret_has_one_spelling() -> None:
    text = Token(BOX, bytes(32), FINGERPRINT).text
    head, secret, tail = text[:41], text[41:84], text[84:]
    assert secret == "A" * 43
    with pytest.raises(TokenRefusedError, match="damaged"):
        Token.parse(f"{head}{'A' * 42}B{tail}")


@pytest.mark.parametrize("change", ["{}\n", " {}", "{}.x", "{}=", "{}" * 9])
def test_what_is_around_a_token_is_refused(change: str) -> None:
    text = Token.new(BOX, FINGERPRINT).text
    with pytest.raises(TokenRefusedError):
        Token.parse(change.replace("{}", text))


def test_the_digest_is_of_the_secret_alone() -> None:
    token = Token.new(BOX, FINGERPRINT)
    assert token.digest == sha256(token.secret).digest()


def test_no_two_tokens_are_alike() -> None:
    assert Token.new(BOX, FINGERPRINT) != Token.new(BOX, FINGERPRINT)


def test_the_secret_is_not_in_the_repr() -> None:
    token = Token(BOX, b"s" * 32, FINGERPRINT)
    assert "sss" not in repr(token)


def test_a_refusal_does_not_repeat_the_token() -> None:
    text = Token.new(BOX, FINGERPRINT).text[:-1]
    with pytest.raises(TokenRefusedError) as refused:
        Token.parse(text)
    assert text.split(".")[2] not in str(refused.value)


def test_a_token_names_a_box_by_its_uuid() -> None:
    with pytest.raises(TokenRefusedError, match="uuid"):
        Token.new("../../etc", FINGERPRINT)
