"""The one line that enrols a box: its token works once, for this box, for a day (M4)."""

from datetime import datetime
from typing import Any

import attrs

from controller.changes import ChangeWriter
from controller.cluster.ports import EnrolmentInfo
from controller.commands import Work
from controller.moments import time_text
from controller.runner import OneTime
from pki.enrolment import Token

TOKEN_HOURS = 24
"""How long a box may take to enrol."""

WINDOWS_PROGRAM = r"C:\Program Files\Heliosphere\hs-agent.exe"


@attrs.frozen
class Invitations:
    """Makes enrolment lines."""

    enrolment: EnrolmentInfo

    @property
    def endpoint(self) -> str:
        """``HOST:PORT`` where boxes enrol."""
        host = self.enrolment.host
        return f"{f'[{host}]' if ':' in host else host}:{self.enrolment.port}"

    async def token(self, work: Work, box_id: str, box_name: str) -> tuple[Token, datetime]:
        """Make a token; one made earlier and not used is void from now on."""
        await work.tx.run(
            "DELETE FROM enrolment_token WHERE box_id = %s AND used_at IS NULL", (box_id,)
        )
        token = Token.new(box_id, self.enrolment.ca_fingerprint)
        # By the clock that it is compared with, which need not be the controller's.
        (expires,) = await work.tx.row(
            """INSERT INTO enrolment_token (digest, box_id, expires_at)
               VALUES (%s, %s, now() + make_interval(hours => %s)) RETURNING expires_at""",
            (token.digest, box_id, TOKEN_HOURS),
        )
        change: ChangeWriter = work.change
        change.row("enrolment_token", box_name, None, {"expires_at": time_text(expires)})
        return token, expires

    async def invite(
        self, work: Work, box_id: str, os_family: str, answer: dict[str, Any]
    ) -> OneTime:
        """Answer the lines to run on the box: they are shown once."""
        token, expires = await self.token(work, box_id, answer["name"])
        install, enrol = lines(os_family, self.enrolment.install, self.endpoint, token.text)
        return OneTime(
            answer={
                **answer,
                "token": token.text,
                "install_command": install,
                "enrolment_command": enrol,
                "expires_at": time_text(expires),
            },
            kept={**answer, "token": None, "install_command": None, "enrolment_command": None},
        )


def lines(os_family: str, install: str, endpoint: str, token: str) -> tuple[str | None, str]:
    """Give the line that installs the agent (None: by hand) and the line that enrols it.

    For Windows both are PowerShell, where quotes of this kind hold text as it stands.
    """
    if os_family == "windows":
        return None, (
            f"& '{WINDOWS_PROGRAM}' enrol --controller '{endpoint}' '{token}'; "
            "Restart-Service heliosphere-agent"
        )
    enrol = f"hs-agent enrol --controller {endpoint} {token}"
    return (install if os_family == "linux" else None), enrol
