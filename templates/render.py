"""Rendering: a template of a service type and its values to text.

Templates have no automatic escaping, because they are in several syntaxes: every expression names
its escape (`templates.escape`), which a test demands of each template.
"""

from collections.abc import Callable

import jinja2

from templates.escape import ESCAPES, EscapeError
from templates.service_type import PlanRefusedError


def _strict(escape: Callable[[object], str]) -> Callable[[object], str]:
    """Let a value that a template misspells be an error of the template, not of an object."""

    def strict(value: object) -> str:
        if isinstance(value, jinja2.Undefined):
            raise jinja2.UndefinedError(f"{value._undefined_name} is not given")
        return escape(value)

    return strict


def environment() -> jinja2.Environment:
    """Make the environment that all templates are read in."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("templates", ""),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - each expression names the escape of its syntax instead
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
        cache_size=-1,
    )
    made.filters.clear()
    made.filters.update({name: _strict(escape) for name, escape in ESCAPES.items()})
    made.globals.clear()
    return made


_environment = environment()


def render(template: str, **values: object) -> str:
    """Render ``template`` (``bind/named.conf.j2``).

    Raises `PlanRefusedError` where a value cannot be written in the syntax of its place.
    """
    try:
        return _environment.get_template(template).render(values)
    except EscapeError as error:
        raise PlanRefusedError(str(error)) from error
