"""What a box reports is its own word: whatever it is, the page is made of what fits (S8)."""

from hypothesis import given
from hypothesis import strategies as st

from controller.web.panel.assets import Assets
from controller.web.panel.rendering import Renderer
from controller.web.panel.rooms.boxes import facts_of

RENDERER = Renderer(Assets())
BOX = {
    "name": "web1",
    "ip": "192.0.2.1",
    "prefix": 24,
    "groups": ["web"],
    "os_family": "linux",
    "description": "",
    "intent": "open",
    "muted": False,
    "retired_at": None,
    "conditions": ["connected"],
    "never_connected": False,
    "last_seen_at": None,
    "agent_version": None,
    "certificate_ends": None,
    "logical_servers": [],
}
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
_names = (
    "host",
    "os",
    "cpu",
    "memory",
    "uptime",
    "disks",
    "interfaces",
    "services",
    "clock_skew",
    "grants",
)
_reports = st.fixed_dictionaries({}, optional=dict.fromkeys(_names, _json)) | _json
_disks = st.fixed_dictionaries(
    {}, optional={"disks": st.lists(st.dictionaries(st.sampled_from(("mount", "total")), _json))}
)


@given(_reports | _disks)
def test_any_report_gives_a_page(reported: object) -> None:
    values = {"box": BOX, "facts": facts_of(reported), "at": None, "csrf": "", "hears": ()}
    assert "System information" in RENDERER.part("box", values)


def test_a_report_of_the_expected_form_is_shown() -> None:
    facts = facts_of({"cpu": {"count": 2, "load": [0.5]}, "memory": {"total": 8, "available": 2}})
    assert facts is not None
    assert facts["memory"] == {"total": 8.0, "used": 6.0}
    assert facts["load"] == [0.5]


def test_what_the_owner_of_a_box_grants_is_shown() -> None:
    facts = facts_of({"grants": {"service types": "bind", "addresses": "<b>any</b>"}})
    assert facts is not None
    assert facts["grants"] == [("Service types", "bind"), ("Addresses", "<b>any</b>")]
    shown = RENDERER.part("box", {"box": BOX, "facts": facts, "at": None, "csrf": "", "hears": ()})
    assert "Granted by the box" in shown
    assert "&lt;b&gt;any&lt;/b&gt;" in shown
