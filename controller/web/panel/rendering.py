"""Pages from templates: jinja2 with autoescape for every template, undefined names refused."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from controller.web.panel import wording
from controller.web.panel.answers import local
from controller.web.panel.assets import Assets


class Renderer:
    """Renders the templates of the panel; ``clock`` gives seconds since the epoch."""

    def __init__(self, assets: Assets, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._environment = Environment(
            loader=PackageLoader("controller.web.panel"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "actor": wording.actor,
            "ago": self._ago,
            "capitalize_first": _capital,
            "colour": wording.colour,
            "duration": wording.duration,
            "meaning": wording.meaning,
            "moment": self._moment,
            "readable": wording.readable,
            "size": wording.size,
            "state": wording.state,
        }
        self._environment.globals |= {
            "asset": assets.path,
            "icon": assets.icon,
            "local": local,
            "sentence": wording.sentence,
        }
        self._environment.globals["ui"] = self._environment.get_template("ui.html.j2").module

    def page(self, template: str, values: Mapping[str, Any]) -> str:
        """Give the whole page."""
        return self._environment.get_template(f"{template}.html.j2").render(values)

    def part(self, template: str, values: Mapping[str, Any]) -> str:
        """Give the live part of a page alone."""
        found = self._environment.get_template(f"{template}.html.j2")
        return "".join(found.blocks["live"](found.new_context(dict(values))))

    def names(self) -> list[str]:
        """Give the names of all templates."""
        return self._environment.list_templates()

    def _ago(self, text: str | None) -> str:
        return wording.ago(text, datetime.fromtimestamp(self._clock(), UTC))

    @staticmethod
    def _moment(text: str | None) -> str:
        at = wording.moment(text)
        return "" if at is None else f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
