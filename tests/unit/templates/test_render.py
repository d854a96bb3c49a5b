"""Rendering: every expression of every template names the escape of its syntax."""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import jinja2
import jinja2.nodes
import pytest

from templates.escape import ESCAPES
from templates.render import environment, render
from templates.service_type import PlanRefusedError

TEMPLATES = sorted(
    str(path.relative_to(str(files("templates"))))
    for path in Path(str(files("templates"))).rglob("*.j2")
)


def unescaped(source: str) -> Iterator[int]:
    """Give the lines of expressions that do not end in an escape of their own."""
    for output in environment().parse(source).find_all(jinja2.nodes.Output):
        for node in output.nodes:
            if isinstance(node, jinja2.nodes.TemplateData):
                continue
            if not isinstance(node, jinja2.nodes.Filter) or node.name not in ESCAPES:
                yield node.lineno


def test_there_are_templates() -> None:
    assert "bind/named.conf.j2" in TEMPLATES


@pytest.mark.parametrize("template", TEMPLATES)
def test_every_expression_of_a_template_is_escaped(template: str) -> None:
    source = files("templates").joinpath(template).read_text()
    assert list(unescaped(source)) == []


@pytest.mark.parametrize("template", TEMPLATES)
def test_templates_hold_no_code_that_others_would_have_to_escape(template: str) -> None:
    tree = environment().parse(files("templates").joinpath(template).read_text())
    forbidden = (
        jinja2.nodes.Call,
        jinja2.nodes.CallBlock,
        jinja2.nodes.FilterBlock,
        jinja2.nodes.Macro,
        jinja2.nodes.ScopedEvalContextModifier,
    )
    assert list(tree.find_all(forbidden)) == []
    for other in tree.find_all((jinja2.nodes.Include, jinja2.nodes.Import)):
        assert isinstance(other.template, jinja2.nodes.Const)


@pytest.mark.parametrize(
    "source",
    [
        "{{ value }}",
        "\n{% if x %}{{ x }}{% endif %}",
        "{% for x in y %}{{ x.name }}{% endfor %}",
        "{{ (value | named_string) ~ other }}",
        "{{ 'text' }}",
    ],
)
def test_an_expression_without_an_escape_is_found(source: str) -> None:
    assert list(unescaped(source))


@pytest.mark.parametrize("name", ["safe", "upper", "replace", "join", "format", "no_such"])
def test_no_filter_exists_beside_the_escapes(name: str) -> None:
    with pytest.raises(jinja2.TemplateAssertionError):
        environment().from_string("{{ value | " + name + " }}")


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        environment().from_string("{{ value.missing | named_string }}").render(value={})
    with pytest.raises(jinja2.UndefinedError):
        environment().from_string("{% if value %}{% endif %}").render()


def test_a_value_that_cannot_be_written_refuses_the_plan() -> None:
    with pytest.raises(PlanRefusedError, match="domain name"):
        render("bind/baseline.zone.j2", zone="text\n$INCLUDE /etc/passwd")
