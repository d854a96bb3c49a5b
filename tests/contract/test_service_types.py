"""What every service type must hold to. A new one needs no line here, only its examples."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

import attrs
import msgspec
import msgspec.inspect
import pytest

from templates.effects import UnitPlan, WriteFile
from templates.objects import ObjectId, SpecError, decode_spec, encode_spec
from templates.registry import KNOWN_TYPES, SERVICE_TYPES, renderer_digest
from templates.service_type import (
    SERVER_ID,
    SERVER_UNIT,
    KnownType,
    Origin,
    PlanRefusedError,
    ServiceType,
    Unit,
)
from templates.settings import settings_of
from tests.contract.service_type_examples import WRITE, Example, examples

EXAMPLES = examples()

each_type = pytest.mark.parametrize(
    "service_type", SERVICE_TYPES.values(), ids=lambda service_type: service_type.name
)
each_known = pytest.mark.parametrize("known", KNOWN_TYPES.values(), ids=lambda known: known.name)
each_example = pytest.mark.parametrize(
    "example", EXAMPLES, ids=lambda example: f"{example.service_type.name}-{example.path.stem}"
)


def test_the_registry_names_each_type_as_it_names_itself() -> None:
    assert {name: known.name for name, known in SERVICE_TYPES.items()} == {
        name: name for name in SERVICE_TYPES
    }


def test_no_reactor_is_loaded_for_planning() -> None:
    code = "import sys, templates.registry; sys.exit('twisted' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the record ---


@each_type
def test_it_has_the_object_that_is_the_server_itself(service_type: ServiceType) -> None:
    kind = service_type.kinds[SERVER_ID.kind]
    fields = {field.name for field in msgspec.structs.fields(kind.spec)}
    assert {"name", "endpoints", "settings"} <= fields
    assert all(name == kind.name for name, kind in service_type.kinds.items())


@each_known
def test_every_setting_has_a_default_a_title_and_help_and_every_number_a_range(
    known: KnownType,
) -> None:
    known.settings()
    for setting in settings_of(known.settings).values():
        assert setting.title != setting.name, setting.name
        assert setting.help.endswith("."), setting.name
        if setting.kind == "number":
            assert setting.minimum is not None, setting.name
            assert setting.maximum is not None, setting.name
        if setting.kind == "choice":
            assert setting.default in setting.choices, setting.name
            for value in setting.choices:
                msgspec.convert({setting.name: value}, known.settings)


@each_known
def test_every_default_is_accepted_as_it_is_shown(known: KnownType) -> None:
    shown = {name: setting.default for name, setting in settings_of(known.settings).items()}
    assert msgspec.convert(shown, known.settings) == known.settings()


@each_type
def test_what_is_rendered_is_part_of_what_can_be_set(service_type: ServiceType) -> None:
    rendered = service_type.rendered or service_type.settings
    assert settings_of(rendered).items() <= settings_of(service_type.settings).items()
    spec = msgspec.structs.fields(service_type.kinds[SERVER_ID.kind].spec)
    assert next(field.type for field in spec if field.name == "settings") is rendered


@each_type
def test_a_newer_or_unknown_specification_is_refused(service_type: ServiceType) -> None:
    for kind in service_type.kinds.values():
        unknown = msgspec.msgpack.encode({"no-such-field": 1})
        with pytest.raises(SpecError):
            decode_spec(kind, kind.version, unknown)
        with pytest.raises(SpecError):
            decode_spec(kind, kind.version + 1, unknown)
        with pytest.raises(SpecError):
            decode_spec(kind, kind.version, b"\xc1")


@each_type
def test_the_digest_of_its_renderer_is_its_own_and_stable(service_type: ServiceType) -> None:
    assert re.fullmatch("[0-9a-f]{64}", renderer_digest(service_type))
    assert renderer_digest(service_type) == renderer_digest(service_type)
    others = {
        renderer_digest(other) for other in SERVICE_TYPES.values() if other is not service_type
    }
    assert renderer_digest(service_type) not in others


@each_type
def test_it_has_examples_of_coming_changing_going_and_refusal(service_type: ServiceType) -> None:
    mine = [example.data for example in EXAMPLES if example.service_type is service_type]
    zones = [example for example in mine if example["unit"] != SERVER_UNIT]
    assert any(example["unit"] == SERVER_UNIT for example in mine)
    assert any(not example["before"] and example["after"] for example in zones)
    assert any(example["before"] and example["after"] for example in zones)
    assert any(example["before"] and not example["after"] for example in zones)
    assert any("refused" in example for example in mine)


@each_type
def test_the_daemon_is_run_by_arguments_that_name_the_lane(service_type: ServiceType) -> None:
    example = next(item for item in EXAMPLES if item.service_type is service_type)
    context, daemon = example.context, service_type.daemon
    arguments = daemon.start(context)
    assert any(argument.startswith(str(context.root)) for argument in arguments)
    assert any(
        argument.startswith(str(context.root)) for argument in daemon.check(context).arguments
    )
    assert not PurePosixPath(daemon.pid_file).is_absolute()
    assert daemon.baseline(context)
    assert (daemon.control is not None) == (daemon.reload == "control")
    if daemon.control is not None:
        endpoint = daemon.control(context)
        assert endpoint.address == "127.0.0.1"
        assert endpoint.secret not in repr(endpoint)


# --- planning ---


@each_example
def test_an_example_comes_out_as_written(example: Example) -> None:
    outcome = example.outcome()
    if WRITE:
        example.write(outcome)
    else:
        assert outcome == {name: example.data.get(name) for name in outcome}


def planned(example: Example) -> UnitPlan:
    if "refused" in example.data:
        with pytest.raises(PlanRefusedError):
            example.plan()
        return UnitPlan(unit=example.data["unit"])
    return example.plan()


@each_example
def test_a_plan_disturbs_the_daemon_as_its_objects_say(example: Example) -> None:
    """A dry run says so without a box: never less than what happens, and here no more either."""
    plan = planned(example)
    if "refused" in example.data:
        return
    before, after = example.before.objects, example.after.objects
    told = {
        example.service_type.kinds[name.kind].disturbs(before.get(name), after.get(name))
        for name in (*before, *after)
        if before.get(name) != after.get(name) or before == after
    }
    happens = "restart" if plan.restart else "reload" if plan.reload else "nothing"
    assert max(told, key=("nothing", "reload", "restart").index) == happens


@each_example
def test_planning_again_gives_the_same(example: Example) -> None:
    assert planned(example) == planned(example)


@each_example
def test_a_plan_survives_the_journal(example: Example) -> None:
    plan = planned(example)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(plan), type=UnitPlan) == plan


@each_example
def test_specifications_are_canonical(example: Example) -> None:
    for unit in (example.before, example.after):
        for name, spec in unit.objects.items():
            kind = example.service_type.kinds[name.kind]
            data = encode_spec(spec)
            assert decode_spec(kind, kind.version, data) == spec
            assert encode_spec(decode_spec(kind, kind.version, data)) == data
            assert kind.unit(name.key, spec)


@each_example
def test_no_path_is_planned_twice_or_written_and_retired(example: Example) -> None:
    plan = planned(example)
    paths = [effect.path for effect in (*plan.files, *plan.scratch)]
    assert len(paths) == len(set(paths))
    assert not set(paths) & {effect.path for effect in plan.retire if effect.target is None}


@each_example
def test_every_step_that_can_be_taken_can_be_planned_back(example: Example) -> None:
    if "refused" not in example.data:
        back = example.service_type.plan(example.context, example.after, example.before)
        assert back.unit == example.data["unit"]


@each_example
def test_nothing_is_planned_for_a_unit_that_was_and_is_absent(example: Example) -> None:
    absent = Unit(example.data["unit"], {})
    plan = example.service_type.plan(example.context, absent, absent)
    assert plan == UnitPlan(unit=example.data["unit"])


@each_example
def test_a_file_with_a_secret_is_closed_to_others(example: Example) -> None:
    secrets = set(_secrets(example.data))
    for effect in planned(example).files:
        if isinstance(effect, WriteFile) and any(
            secret.encode() in effect.content for secret in secrets
        ):
            assert effect.mode & 0o007 == 0, effect.path


@each_example
def test_no_control_command_or_check_holds_a_secret(example: Example) -> None:
    """Daemons log their commands, and arguments are seen by every process of the box."""
    plan = planned(example)
    text = repr((plan.control, plan.checks, plan.probes))
    assert not [secret for secret in _secrets(example.data) if secret in text]


@each_example
def test_another_lane_s_directory_is_never_named(example: Example) -> None:
    elsewhere = attrs.evolve(example.context, root=PurePosixPath("/srv/elsewhere"))
    if "refused" not in example.data:
        plan = example.service_type.plan(elsewhere, example.before, example.after)
        assert str(example.context.root) not in repr(plan)


def _secrets(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        for name, value in data.items():
            if name in ("secret", "key", "control_secret") and isinstance(value, str):
                if len(value) >= 32:
                    yield value
            elif name not in ("plan", "refused"):
                yield from _secrets(value)
    elif isinstance(data, list):
        for value in data:
            yield from _secrets(value)


# --- whose a file is ---


def _is_of(origin: Origin, object_id: ObjectId, spec: Any) -> bool:
    if origin.account is not None:
        return origin.kind == object_id.kind and origin.account == spec.account
    same = object_id.key.startswith(origin.key) if origin.begins else object_id.key == origin.key
    return origin.kind == object_id.kind and same


@each_example
def test_each_file_leads_back_to_what_it_was_written_for(example: Example) -> None:
    for effect in planned(example).files:
        if isinstance(effect, WriteFile) and not effect.only_if_absent:
            found = example.service_type.origins(effect.path)
            objects = example.after.objects.items()
            assert any(_is_of(origin, *each) for origin in found for each in objects), effect.path


@each_example
def test_what_is_others_once_it_is_there_leads_to_nothing(example: Example) -> None:
    for effect in planned(example).files:
        if isinstance(effect, WriteFile) and effect.only_if_absent:
            assert example.service_type.origins(effect.path) == (), effect.path
