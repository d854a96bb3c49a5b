"""A reader of named.conf's syntax for tests; it knows nothing of our templates.

A statement is a tuple of words and blocks, a block a tuple of statements. Quoted strings keep their
quotes, so that a word and a string never look alike.
"""

import re

_TOKEN = re.compile(
    r"""(?P<space>[\s]+|//[^\n]*|\#[^\n]*|/\*.*?\*/)
      | (?P<string>"(?:[^"\\\n]|\\.)*")
      | (?P<mark>[{};])
      | (?P<word>[^\s{};"/\#]+(?:/(?![/*])[^\s{};"\#]*)?)""",
    re.VERBOSE | re.DOTALL,
)

Statement = tuple[object, ...]


def parse(text: str) -> tuple[Statement, ...]:
    """Read a whole configuration; raises ValueError where it is not one."""
    tokens = _tokens(text)
    statements, end = _block(tokens, 0)
    if end != len(tokens):
        raise ValueError("a brace is closed that was not opened")
    return statements


def _tokens(text: str) -> list[str]:
    tokens, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"no token at {text[position : position + 40]!r}")
        if match.lastgroup != "space":
            tokens.append(match.group())
        position = match.end()
    return tokens


def _block(tokens: list[str], position: int) -> tuple[tuple[Statement, ...], int]:
    statements: list[Statement] = []
    present: list[object] = []
    while position < len(tokens):
        token = tokens[position]
        if token == "}":
            break
        position += 1
        if token == "{":
            block, position = _block(tokens, position)
            if position >= len(tokens):
                raise ValueError("a brace is not closed")
            position += 1
            present.append(block)
        elif token == ";":
            statements.append(tuple(present))
            present = []
        else:
            present.append(token)
    if present:
        raise ValueError(f"a statement is not ended: {present}")
    return tuple(statements), position


def replaced(tree: object, old: str, new: str) -> object:
    """Give the tree with ``old`` replaced by ``new`` inside every word and string."""
    if isinstance(tree, tuple):
        return tuple(replaced(part, old, new) for part in tree)
    assert isinstance(tree, str)
    return tree.replace(old, new)
