"""The steps of the controller's commit and dispatch between which a crash may fall.

The fault tests kill the controller at each of them: one that no run reaches fails the suite.
"""

from collections.abc import Callable
from typing import Literal

CrashPoint = Literal[
    "claimed",
    "written",
    "committed",
    "answering",
    "sent",
    "observing",
    "acknowledged",
    "recording",
    "recorded",
    "greeted",
    "compared",
    "moved",
    "sealed",
]
"""What has just been done, in the life of a change:

- ``claimed``: the idempotency key is taken, the command has not run;
- ``written``: all is written but the COMMIT;
- ``committed``: nobody has been given the change yet;
- ``answering``: it was handed over, and whoever asked has no answer yet;
- ``sent``: a batch is on its way; ``observing``: a name server is to be observed;
- ``acknowledged``: a box said that it stored the batch, which nobody has written down;
- ``recording``: words of boxes are about to be written; ``recorded``: they are committed, and
  nobody in this process knows it;
- ``greeted``: a session is in the database, and its box has no Welcome;
- ``compared``: a repair is decided, and nothing of it is sent;
- ``moved``: a part of a job is committed;
- ``sealed``: changes have their place in the audit's chain.
"""

CrashSite = Callable[[CrashPoint], None]


def pass_by(point: CrashPoint) -> None:
    """Let every point pass: nobody wants a crash here."""
