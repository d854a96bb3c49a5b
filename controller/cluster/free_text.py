"""Free text that people give with a thing: what it is for, why it was done."""

from controller.refusal import CommandError


def text_line(text: str, *, field: str, most: int) -> str:
    """Check a free text of one line; raises `CommandError` ``text.invalid``."""
    if len(text) > most or not text.isprintable():
        raise CommandError(
            "text.invalid",
            "not one line of printable text",
            field=field,
            value=text,
            allowed=f"one line of at most {most} characters",
        )
    return text
