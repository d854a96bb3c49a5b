"""A write that is asked again until time is up, and what is said of it then."""

import http.client
from pathlib import Path
from typing import Any

import pytest

from controller.client.client import Client
from controller.client.errors import UnreachableError
from controller.client.profiles import Profile
from pki.authority import Authority

FULL = b'{"id": "database.full", "detail": "the disk is full: nothing was written"}'
UNKNOWN = b'{"id": "commit.unknown", "detail": "it may or may not have happened"}'


@pytest.mark.parametrize(
    ("answers", "known"), [([FULL], True), ([UNKNOWN, FULL], False), ([b"", FULL], False)]
)
def test_nothing_was_written_is_said_only_where_every_answer_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answers: list[bytes], known: bool
) -> None:
    authority = Authority.create(tmp_path / "ca", "test")
    time = [0.0]

    class Answer:
        status = 503

        def read(self, most: int) -> bytes:
            content = answers.pop(0) if len(answers) > 1 else answers[0]
            if not content:
                raise http.client.RemoteDisconnected("gone")
            return content

    class Connection:
        def request(self, *words: Any) -> None: ...

        def close(self) -> None: ...

        def getresponse(self) -> Answer:
            return Answer()

    client = Client(
        Profile("test", "https://localhost", authority.certificate_pem.decode(), "token"),
        now=lambda: time[0],
        pause=lambda seconds: time.__setitem__(0, time[0] + seconds),
    )
    monkeypatch.setattr(client, "_connected", Connection)
    with pytest.raises(UnreachableError, match="nothing was written") as caught:
        client.write("account.add", {"name": "acme"})
    assert ("not known" not in caught.value.message) is known
