"""Rules of the certificates that many sites present. Pure."""

from collections.abc import Iterator

from controller.cluster.rules.rules import Finding, Rule
from controller.cluster.rules.view import ModelView

ENDING_DAYS = 30
"""Days before the end of a certificate from which it is told of."""


def ending_words(domain: str, days: int) -> str:
    """Say of a shared certificate how long it is valid; negative ``days`` are over."""
    words = {0: "ends within a day", 1: "ends in one day"}.get(days, f"ends in {days} days")
    return f"the certificate for *.{domain} {'has expired' if days < 0 else words}"


def _shared_ending(view: ModelView) -> Iterator[Finding]:
    for shared in view.shared_certificates:
        if shared.days_left < ENDING_DAYS:
            yield Finding(
                "certificate",
                shared.domain,
                ending_words(shared.domain, shared.days_left),
                f"hsctl ssl upload {shared.domain} --certificate CHAIN --key KEY",
            )


RULES: tuple[Rule, ...] = (
    Rule(
        "ssl.shared.ending",
        ("R277", "R278"),
        "warn",
        "When it ends, browsers refuse every site that presents it.",
        _shared_ending,
    ),
)
