"""Text from elsewhere on its way to a terminal or a log: shown, and never obeyed (S8, S13)."""


def clean(text: str) -> str:
    """Give ``text`` on one line with control and direction characters escaped."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "backslashreplace").decode("ascii")
        for character in text
    )
