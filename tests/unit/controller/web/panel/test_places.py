import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.web.panel.answers import local
from controller.web.panel.routes import ROUTES
from controller.web.panel.routing import NoPlaceError, Routes
from controller.web.panel.wording import readable

PLACES = Routes(ROUTES)


@given(st.text(min_size=1, max_size=40).filter(lambda text: text.isprintable() and "/" not in text))
def test_a_name_in_a_path_is_read_back_as_it_was(name: str) -> None:
    path = local("boxes", "box", name)
    assert path.isascii()
    assert not path.startswith("//")
    assert PLACES.find(b"GET", path.encode()).texts == (name,)


@pytest.mark.parametrize(
    "path",
    [
        b"//boxes",
        b"/boxes/",
        b"/boxes/box/a%2Fb",
        b"/boxes/box/%",
        b"/boxes/box/%zz",
        b"/boxes/box/%0d%0a",
        b"/boxes/box/%ff",
        b"/boxes/box/",
        b"/boxes/../domains",
        b"/boxes/box/" + b"x" * 2000,
    ],
)
def test_there_is_one_spelling_of_each_place(path: bytes) -> None:
    with pytest.raises(NoPlaceError):
        PLACES.find(b"GET", path)


def test_a_name_that_is_also_a_word_is_still_reached() -> None:
    assert PLACES.find(b"GET", b"/boxes/add").texts == ()
    assert PLACES.find(b"GET", b"/boxes/box/add").texts == ("add",)


def test_what_is_no_internationalised_name_stays_as_it_is() -> None:
    assert readable("xn--bcher-kva.test") == "bücher.test"
    assert readable("xn--") == "xn--"


@given(st.text(max_size=30))
def test_any_text_with_the_mark_of_such_a_name_can_be_shown(text: str) -> None:
    assert isinstance(readable(f"xn--{text}"), str)
