"""The repair command of a finding, run as hsctl would ask for it."""

import shlex
from collections.abc import Mapping
from typing import Any

import attrs
import click
import pytest

from controller.client.profiles import Profile
from controller.hsctl import verbs
from controller.hsctl.main import main
from tests.integration.model import Model


@attrs.define
class AskedError(Exception):
    """What a verb asked of the controller."""

    command: str
    fields: Mapping[str, Any]


@attrs.frozen
class NotingClient:
    """Stands where hsctl's client would, and only notes what it is asked."""

    def read(self, command: str, fields: Mapping[str, Any]) -> Any:
        raise AskedError(command, fields)

    def write(self, command: str, fields: Mapping[str, Any], **how: Any) -> Any:
        raise AskedError(command, fields)


def asked_by(line: str, monkeypatch: pytest.MonkeyPatch) -> AskedError:
    """Give the command and the fields that an hsctl line comes to."""
    words = shlex.split(line)
    assert words[0] == "hsctl", line
    if "delete" in words:
        words.append("--yes")
    monkeypatch.setattr(verbs.Session, "profile", Profile("test", "https://192.0.2.1:1", "", ""))
    monkeypatch.setattr(verbs.Session, "client", NotingClient())
    try:
        main(words[1:], standalone_mode=False)
    except AskedError as asked:
        return asked
    except click.ClickException as error:
        raise AssertionError(f"{line}: {error.format_message()}") from error
    raise AssertionError(f"{line} asks nothing")


async def repair(model: Model, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the command of a repair line, and approve it where it is held back."""
    asked = asked_by(line, monkeypatch)
    fields = {name: value for name, value in asked.fields.items() if value is not None}
    await model.approved(asked.command, **fields)
