"""What hsctl's exit code means. Scripts rely on these six; nothing else is ever returned."""

DONE = 0
"""Done and live everywhere; or accepted, with ``--no-wait``; or read."""

REFUSED = 1
"""Refused: nothing was written. One line says what and why."""

USAGE = 2
"""The command line cannot be understood, or a needed answer could not be asked for."""

NOT_KNOWN_LIVE = 3
"""Committed, but not known to be live everywhere in time. It goes on by itself."""

NOT_APPLIED = 4
"""Committed, but a box could not apply it."""

UNREACHABLE = 5
"""The controller cannot be reached or fails, or nobody is signed in."""

MEANINGS = {
    DONE: "done and live everywhere (or accepted, with --no-wait)",
    REFUSED: "refused, nothing written; one line says what and why",
    USAGE: "usage",
    NOT_KNOWN_LIVE: "committed, not known to be live in time",
    NOT_APPLIED: "committed, a box could not apply it",
    UNREACHABLE: "controller unreachable or not signed in",
}
