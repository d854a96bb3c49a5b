"""What people want of a box, and what its conditions mean: the words with their meanings. Pure.

Panel, hsctl and API show these words and no others (design, section 6).
"""

from collections.abc import Mapping
from types import MappingProxyType

import attrs

from controller.fleet.conditions import Condition
from controller.refusal import CommandError


@attrs.frozen
class Intent:
    """A word that a person sets, and what follows from it."""

    word: str
    meaning: str


INTENTS: tuple[Intent, ...] = (
    Intent("open", "New sites, zones and logical servers may be placed on it."),
    Intent(
        "no-signup",
        "No new customer's sites and zones are placed on it. What is there is served and changed.",
    ),
    Intent(
        "draining",
        "Nothing new is placed on it, and what is left is listed. Nothing moves by itself.",
    ),
    Intent(
        "maintenance",
        "Changes wait until it is over, no new customer is placed on it, and its alarms are mute. "
        "Its daemons serve on.",
    ),
)

CONDITIONS: Mapping[Condition, str] = MappingProxyType(
    {
        "never connected": "It is configured here, and no agent of it has ever come (R248).",
        "connected": "Its agent has a session and all is well.",
        "behind": "It has changes yet to store or to apply.",
        "held": "Somebody or something keeps a lane from being touched: the reason stands there.",
        "ahead": "It holds more than the database knows, as after a restore: an operator decides.",
        "blocked": "Daemons serve, and something on it keeps changes out: the reason stands there.",
        "daemon down": "A daemon does not run or does not answer; changes to it wait.",
        "disk full": "Its disk is full; changes wait, what is served stays.",
        "clock skewed": "Its clock is off by more than 30 seconds.",
        "certificate expiring": "Its certificate ends in under 14 days and has not renewed itself.",
        "version too old": "Its agent speaks no protocol that this controller speaks: upgrade it.",
        "duplicate identity": "Its certificate was used by two machines; the newcomer is refused.",
        "drifted": "Files that the agent wrote were changed by something else.",
        "lost": "It was connected and is not any more.",
    }
)


def intent(word: str) -> Intent:
    """Read an intent; raises `CommandError` ``pserver.intent.invalid``."""
    for known in INTENTS:
        if known.word == word:
            return known
    raise CommandError(
        "pserver.intent.invalid",
        "not an intent of a box",
        field="intent",
        value=word,
        allowed=", ".join(known.word for known in INTENTS),
    )
