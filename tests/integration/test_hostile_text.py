"""Texts that no column can hold and hosts that are none: refused at every field of every command.

Nothing but a refusal may come of them: what PostgreSQL would stumble over is no error of ours.
"""

import types
import typing
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
import pytest_twisted

from controller.bootstrap.job import SshJob
from controller.cluster.ports import EnrolmentInfo
from controller.refusal import CommandError
from controller.registry import build_registry
from controller.runner import CommandRunner
from tests.integration.model import NOW, OPERATOR, Model

NUL = "a\0b"


def hostile(hint: Any) -> Iterator[Any]:
    """Give values of a field's type that hold a NUL character, wherever the type has room."""
    parts = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if hint in (str, Any):
        yield NUL
    elif origin is dict or hint is dict:
        yield from ({NUL: "x"}, {"x": NUL}, {"x": {"y": [NUL]}})
    elif origin in (tuple, list):
        yield from ((value,) for value in hostile(parts[0]))
    elif origin in (typing.Union, types.UnionType):
        for part in parts:
            yield from hostile(part)


def inside(value: Any) -> str:
    """Give where in a field the text is: after the keys on the way to it."""
    if isinstance(value, dict) and NUL not in value:
        ((key, part),) = value.items()
        return f".{key}{inside(part)}"
    return ""


def harmless(hint: Any) -> Any:
    """Give some value of a field's type."""
    for kind in (str, bool, int):
        if hint is kind:
            return kind()
    return {} if typing.get_origin(hint) is dict else ()


@pytest_twisted.ensureDeferred
async def test_a_nul_character_is_refused_in_every_text_of_every_command(model: Model) -> None:
    tried = 0
    for command in model.registry:
        hints = typing.get_type_hints(command.request)
        fields = attrs.fields_dict(command.request)
        needed = {
            name: harmless(hints[name])
            for name, field in fields.items()
            if field.default is attrs.NOTHING
        }
        for name in fields:
            for value in hostile(hints[name]):
                request = command.request(**{**needed, name: value})
                with pytest.raises(CommandError) as caught:
                    await model.runner.run(OPERATOR, command.name, request)
                is_secret = bool(fields[name].metadata.get("secret"))
                place = name if is_secret else f"{name}{inside(value)}"
                assert (caught.value.id, caught.value.field) == ("text.nul", place), command.name
                assert caught.value.allowed
                assert caught.value.value == ("" if is_secret else "a\N{REPLACEMENT CHARACTER}b")
                tried += 1
    assert tried > 100


@attrs.frozen
class NotedSsh:
    """Notes the enrolments over SSH that would begin."""

    begun: list[SshJob] = attrs.field(factory=list)

    def begin(self, job: SshJob) -> None:
        self.begun.append(job)


@pytest.mark.parametrize("host", ["fe80::1%x\nforged line", "::1%\x1b[31m", "fe80::1%eth0"])
@pytest_twisted.ensureDeferred
async def test_an_address_with_a_zone_index_is_no_host_for_ssh(model: Model, host: str) -> None:
    ssh = NotedSsh()
    registry = build_registry(
        EnrolmentInfo("127.0.0.1", 1, "ab" * 32),
        lambda: float(NOW),
        fleet=model.fleet,
        secrets=model.secrets,
        ssh=ssh,
    )
    await model.box("web9", 9, ("web",))
    asked = registry["pserver.enroll"].request(name="web9", ssh=f"root@{host}", password="x")
    with pytest.raises(CommandError) as caught:
        await CommandRunner(model.database, registry).run(OPERATOR, "pserver.enroll", asked)
    assert (caught.value.id, caught.value.field) == ("pserver.ssh.login", "ssh")
    assert not ssh.begun
