"""``hsctl model``: the file that it writes and reads."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pytest_twisted import ensureDeferred

from controller.cluster.model.file import parsed, written
from tests.unit.controller.hsctl.conftest import Cli
from tests.web_site import Told

PLAIN = (
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(st.characters(exclude_categories=("Cs",)))
)
VALUES = PLAIN | st.lists(PLAIN, max_size=3)
NAMES = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
THINGS = st.dictionaries(
    NAMES,
    st.dictionaries(
        NAMES,
        VALUES
        | st.dictionaries(NAMES, VALUES, min_size=1, max_size=3)
        | st.lists(st.dictionaries(NAMES, PLAIN, min_size=1, max_size=3), min_size=1, max_size=3),
        max_size=4,
    ),
    max_size=3,
)
MODEL = {
    "format": 1,
    "service_domain": "hs.test",
    "boxes": {"ns1": {"ip": "192.0.2.1/24", "groups": ["dns"]}},
    "logical_servers": {
        "ns1.hs.test": {
            "group": "dns",
            "type": "bind",
            "pserver": "ns1",
            "settings": {"role": "master"},
            "addresses": [{"ip": "192.0.2.1", "mask": 24, "type": "service", "port": 53}],
        }
    },
}
TEXT = """\
# The model of a Heliosphere cluster, as `hsctl model export` wrote it.
# What is at its default is left out. Customers' accounts, domains and sites are not part of it.
format = 1
service_domain = "hs.test"

[boxes.ns1]
ip = "192.0.2.1/24"
groups = ["dns"]

[logical_servers."ns1.hs.test"]
group = "dns"
type = "bind"
pserver = "ns1"
addresses = [
    { ip = "192.0.2.1", mask = 24, type = "service", port = 53 },
]

[logical_servers."ns1.hs.test".settings]
role = "master"
"""


@given(THINGS, THINGS)
def test_what_is_written_is_read_again_whatever_stands_in_it(
    boxes: dict[str, Any], servers: dict[str, Any]
) -> None:
    model = {"format": 1, "service_domain": "a.b", "boxes": boxes, "logical_servers": servers}
    found = tomllib.loads(written(model))
    assert found.get("boxes", {}) == boxes
    assert found.get("logical_servers", {}) == servers


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 5000 + "]" * 5000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        "a = 2026-01-01",
        "a = 07:32:00",
        "a = inf",
        '{"a": NaN}',
        "a = 1\na = 2",
        "\0",
    ],
    ids=["deep-toml", "deep-json", "date", "time", "inf", "nan", "twice", "nul"],
)
def test_a_hostile_file_is_a_value_error_and_nothing_else(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parsed(text)


def test_a_model_is_a_table_for_each_thing() -> None:
    assert written(MODEL) == TEXT


@ensureDeferred
async def test_a_model_is_shown_and_written_to_a_file(cli: Cli, tmp_path: Path) -> None:
    cli.runner.answer = lambda asked: Told(MODEL)
    assert (await cli.run("model", "export")).out == TEXT
    assert json.loads((await cli.run("model", "export", "-o", "json")).out) == MODEL
    file = tmp_path / "cluster.toml"
    assert (await cli.run("model", "export", str(file))).code == 0
    assert file.read_text() == TEXT
    ended = await cli.run("model", "export", str(tmp_path / "none" / "cluster.toml"))
    assert (ended.code, ended.err.count("\n")) == (1, 1)


@pytest.mark.parametrize("text", [TEXT, json.dumps(MODEL)])
@ensureDeferred
async def test_a_model_is_read_from_a_file_or_standard_input(
    cli: Cli, tmp_path: Path, text: str
) -> None:
    cli.answers({"steps": [], "left": ["pserver old"], "warnings": [], "enrolment": []})
    file = tmp_path / "cluster"
    file.write_text(text)
    ended = await cli.run("model", "import", str(file), "--prune")
    assert ended.code == 0
    assert "the cluster has all of it" in ended.out
    assert "pserver old" in ended.out
    await cli.run("model", "import", "-", stdin=text)
    assert [asked.request.model for asked in cli.written] == [MODEL, MODEL]
    assert [asked.request.prune for asked in cli.written] == [True, False]


@ensureDeferred
async def test_new_boxes_are_shown_with_the_lines_that_enrol_them(cli: Cli, tmp_path: Path) -> None:
    line = {"pserver": "ns1", "install_command": "apt", "enrolment_command": "hs-agent enrol x"}
    steps = [{"command": "pserver.add", "about": "ns1"}]
    cli.answers({"steps": steps, "left": [], "warnings": ["ns1: alone"], "enrolment": [line]})
    file = tmp_path / "cluster"
    file.write_text(TEXT)
    ended = await cli.run("model", "import", str(file))
    for words in ("pserver.add", "hs-agent enrol x"):
        assert words in ended.out
    assert "warning: ns1: alone\n" in ended.err


@ensureDeferred
async def test_a_file_that_is_no_model_is_a_usage_error(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "cluster"
    for text in ("format 1", '{"format": 1', "\x00"):
        file.write_text(text)
        ended = await cli.run("model", "import", str(file))
        assert (ended.code, ended.err.count("\n")) == (2, 1), ended
    assert (await cli.run("model", "import", str(tmp_path / "missing"))).code == 2
    assert cli.runner.asked == []
