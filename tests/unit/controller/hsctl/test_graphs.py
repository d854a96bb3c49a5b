"""The load of a box in a terminal: numbers and a curve."""

from controller.hsctl.graphs import curve, load, size


def test_a_curve_is_as_wide_as_its_span_and_blank_where_nothing_was_measured() -> None:
    drawn = curve([0, 39], [0.0, 100.0], 0, 40, 100.0)
    assert drawn[0] == "▁"
    assert drawn[-1] == "█"
    assert drawn[1:-1] == " " * 38


def test_a_load_is_told_in_units_for_people() -> None:
    shown = load(
        {
            "name": "web1",
            "span": "hour",
            "monitoring": True,
            "since": "1970-01-01T00:00:00+00:00",
            "until": "1970-01-01T01:00:00+00:00",
            "at": [0, 1800],
            "series": {
                "processor": [10.0, 30.0],
                "memory_used": [2**30, 2**31],
                "memory_total": [2**32, 2**32],
            },
        }
    )
    processor, memory = shown["load"]
    assert (processor["last"], processor["mean"], processor["highest"]) == ("30 %", "20 %", "30 %")
    assert (memory["last"], memory["lowest"]) == ("2.0 GiB of 4.0 GiB", "1.0 GiB")


def test_r250_monitoring_that_is_off_is_said() -> None:
    shown = load({"name": "web1", "span": "hour", "monitoring": False, "at": [], "series": {}})
    assert shown["monitoring"] == "off: no samples are taken"
    assert shown["load"] == "no samples in this span"


def test_sizes_are_written_in_the_unit_that_suits_them() -> None:
    assert [size(0), size(1536), size(3 * 2**40)] == ["0 B", "1.5 KiB", "3.0 TiB"]
