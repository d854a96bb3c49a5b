"""Pages as a person reads them: links and buttons by their words, fields by their labels."""

from collections.abc import Mapping
from html.parser import HTMLParser

import attrs

_READ = frozenset(("a", "button", "label", "legend", "option", "textarea"))
"""Elements whose text names something."""


@attrs.define
class Control:
    """One field of a form; ``choices`` pairs values with the words shown for them."""

    name: str
    kind: str
    id: str
    value: str
    checked: bool = True
    choices: list[tuple[str, str]] = attrs.field(factory=list)
    label: str = ""
    group: str = ""
    """The legend of the field set that it is in."""


@attrs.define
class SeenForm:
    """A form of a page."""

    action: str
    controls: list[Control] = attrs.field(factory=list)
    buttons: list[str] = attrs.field(factory=list)

    def filled(self, fields: Mapping[str, str]) -> "dict[str, str | list[str]] | None":
        """Give what is sent where a person fills in ``fields`` (label -> words).

        None: the form has no such field, or does not offer such a choice.
        """
        sent: dict[str, str | list[str]] = {}
        left = dict(fields)
        for control in self.controls:
            if control.kind == "checkbox":
                ticked = control.checked
                if control.label == left.get(control.group):
                    left.pop(control.group)
                    ticked = True
                if ticked:
                    sent[control.name] = [*sent.get(control.name, ()), control.value]
                continue
            value = control.value
            words = left.pop(control.label, None)
            if words is not None and control.kind == "select":
                fitting = [it for it, shown in control.choices if _names(words, shown)]
                if len(fitting) != 1:
                    return None
                value = fitting[0]
            elif words is not None:
                value = words
            if control.kind == "hidden" and control.name in sent:
                sent[control.name] = [*_values(sent[control.name]), value]
            else:
                sent[control.name] = value
        return None if left else sent


def _values(given: str | list[str]) -> list[str]:
    return given if isinstance(given, list) else [given]


def _names(words: str, shown: str) -> bool:
    """Whether a person takes a choice for what was named: ``ns1`` for ``ns1 (dns)``."""
    return shown == words or shown.startswith((f"{words} (", f"{words}: "))


class SeenPage(HTMLParser):
    """What a page shows: ``links`` (words -> path) and ``forms``."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: dict[str, str] = {}
        self.forms: list[SeenForm] = []
        self._labels: dict[str, str] = {}
        self._reading: list[tuple[str, dict[str, str], list[str]]] = []
        self._form: SeenForm | None = None
        self._legend = ""
        self.feed(text)
        self.close()
        for form in self.forms:
            for control in form.controls:
                control.label = control.label or self._labels.get(control.id, "")

    def form(self, button: str, fields: Mapping[str, str]) -> tuple[str, Mapping[str, object]]:
        """Give action and content of the form with this button that takes these fields."""
        for form in self.forms:
            if button in form.buttons and (sent := form.filled(fields)) is not None:
                return form.action, sent
        seen = [
            (it.buttons, [each.label for each in it.controls if each.label]) for it in self.forms
        ]
        raise AssertionError(f"no form with {button!r} takes {dict(fields)}: {seen}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._form = SeenForm(given.get("action", ""))
            self.forms.append(self._form)
        elif tag == "fieldset":
            self._legend = ""
        elif tag in ("input", "select", "textarea") and self._form is not None:
            kind = given.get("type", "text") if tag == "input" else tag
            self._form.controls.append(
                Control(
                    given.get("name", ""),
                    kind,
                    given.get("id", ""),
                    given.get("value", ""),
                    checked=kind != "checkbox" or "checked" in given,
                    group=self._legend,
                )
            )
        if tag in _READ:
            self._reading.append((tag, given, []))

    def handle_data(self, data: str) -> None:
        for _, _, text in self._reading:
            text.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        if not self._reading or self._reading[-1][0] != tag:
            return
        _, given, text = self._reading.pop()
        words = " ".join("".join(text).split())
        if tag == "a":
            self.links.setdefault(words or given.get("aria-label", ""), given.get("href", ""))
        elif tag == "legend":
            self._legend = words
        elif tag == "label" and "for" in given:
            self._labels[given["for"]] = words
        elif self._form is None:
            return
        elif tag == "button":
            self._form.buttons.append(words)
        elif tag == "label":
            self._form.controls[-1].label = words
        elif tag == "textarea":
            self._form.controls[-1].value = "".join(text).removeprefix("\n")
        elif tag == "option":
            control = self._form.controls[-1]
            value = given.get("value", words)
            if not control.choices or "selected" in given:
                control.value = value
            control.choices.append((value, words))
