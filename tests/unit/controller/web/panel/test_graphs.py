"""The samples behind the graphs of a box: thinned, with gaps, as numbers and as a table."""

import json

from hypothesis import given
from hypothesis import strategies as st

from controller.fleet.monitoring import SERIES
from controller.web.panel.graphs import GRAPHS, MOST_POINTS, TABLE_ROWS, drawn, thin, with_gaps


def answer(at: list[int]) -> dict[str, object]:
    return {
        "name": "ns1",
        "span": "hour",
        "since": "2026-01-01T00:00:00+00:00",
        "until": "2026-01-01T01:00:00+00:00",
        "at": at,
        "series": {
            name: [float(number) for number, _ in enumerate(at)]
            if name.endswith("used") or "_" not in name
            else [1000.0] * len(at)
            for name in SERIES
        },
    }


@given(count=st.integers(0, 3000), most=st.integers(1, 500))
def test_thinning_keeps_to_its_bound_and_the_mean(count: int, most: int) -> None:
    at = list(range(count))
    moments, (column,) = thin(at, [[2.0] * count], most)
    assert len(moments) == len(column) <= most
    assert set(column) <= {2.0}
    assert moments[:1] == at[:1]


def test_neighbours_are_put_together_as_their_mean() -> None:
    assert thin([0, 10, 20, 30, 40], [[1.0, 3.0, 5.0, 7.0, 100.0]], 3) == (
        [0, 20, 40],
        [[2.0, 6.0, 100.0]],
    )


def test_no_line_is_drawn_over_a_pause() -> None:
    moments, (column,) = with_gaps([0, 10, 20, 200, 210], [[1.0, 2.0, 3.0, 4.0, 5.0]])
    assert moments == [0, 10, 20, 21, 200, 210]
    assert column == [1.0, 2.0, 3.0, None, 4.0, 5.0]


def test_samples_that_only_come_seldom_are_no_pauses() -> None:
    moments, _ = with_gaps([0, 120, 240, 360], [[1.0] * 4])
    assert moments == [0, 120, 240, 360]


def test_what_is_carried_to_a_browser_is_bounded() -> None:
    shown = drawn(answer(list(range(0, 28_800, 10))))
    data = json.loads(shown["data"])
    assert len(data["at"]) <= MOST_POINTS
    assert len(shown["rows"]) <= TABLE_ROWS
    assert [len(row["cells"]) for row in shown["rows"]] == [len(GRAPHS)] * len(shown["rows"])
    assert shown["rows"][0]["at"] > shown["rows"][-1]["at"]


def test_every_graph_says_its_last_value_and_its_range_without_scripts() -> None:
    shown = {graph["title"]: graph for graph in drawn(answer([0, 10]))["graphs"]}
    assert (shown["Processor"]["last"], shown["Processor"]["top"]) == ("1 %", 100.0)
    assert shown["Load"]["range"] == "0.00 to 1.00"
    assert shown["Memory"]["last"] == "1 B of 1000 B"
    assert shown["Network"]["last"] == "1000 B/s / 1000 B/s"


def test_a_box_without_samples_has_graphs_without_words() -> None:
    shown = drawn(answer([]))
    assert [graph["last"] for graph in shown["graphs"]] == [""] * len(GRAPHS)
    assert shown["rows"] == []
