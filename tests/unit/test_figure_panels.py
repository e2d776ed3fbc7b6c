"""The figure for a paper of rows written by hand: its size, legend and axes, and how lines and marks look."""

from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from stub_passes import row

from lenses_min.output.run import Run
from lenses_min.report import paper
from lenses_min.report.paper import COLOURS, Line

ROWS = [
    row(1, copy_collapse=True),
    row(2, entropy=2.0, kl_to_final_bits=0.75),
    row(4, entropy=1.0, kl_to_final_bits=0.0, is_answer=True),
]
RUN = Run("m", {("pure", "norm"): ROWS}, {})


@pytest.fixture
def saved(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that would be saved."""
    figures: list[Figure] = []

    def savefig(self: Figure, *args: Any, **options: Any) -> None:
        figures.append(self)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


def axes_of_one_panel() -> Axes:
    axes: Axes = Figure().subplots()
    return axes


@pytest.mark.parametrize(
    ("runs", "quantities", "width", "height"),
    [(1, 2, 3.3, 2.97), (2, 1, 6.6, 1.82), (3, 1, 7.0, 1.66), (5, 1, 8.75, 1.66)],
)
def test_a_figure_is_as_wide_as_its_runs_and_as_high_as_its_panels_and_legend(
    runs: int, quantities: int, width: float, height: float, saved: list[Figure]
) -> None:
    """The legend has a line and three milestones: two rows of at most three, or one of at most six."""
    paper.figure([RUN] * runs, ["entropy", "p_top1"][:quantities], ["norm"], [], "svg")
    (figure,) = saved
    assert figure.get_size_inches().tolist() == pytest.approx([width, height])


def test_panels_share_the_layers_of_a_run_and_the_values_of_a_quantity(saved: list[Figure]) -> None:
    paper.figure([RUN, RUN], ["entropy", "p_top1"], ["norm"], [], "svg")
    a, b, c, d = saved[0].axes
    shared_x, shared_y = a.get_shared_x_axes(), a.get_shared_y_axes()
    assert [shared_x.joined(a, other) for other in (b, c, d)] == [False, True, False]
    assert [shared_y.joined(a, other) for other in (b, c, d)] == [True, False, False]


def test_the_legend_names_each_line_and_milestone_once_above_the_panels(
    saved: list[Figure],
) -> None:
    paper.figure([RUN], ["entropy", "kl_to_final_bits"], ["norm"], [], "svg")
    (legend,) = saved[0].legends
    handles: list[Any] = legend.legend_handles
    assert [(one.get_label(), one.get_color(), one.get_marker()) for one in handles] == [
        ("norm", COLOURS[0], "None"),
        ("copy", "black", "s"),
        ("semantic", "black", "*"),
        ("KL ≤ 1", "black", "v"),
    ]
    assert [one.get_linestyle() for one in handles] == ["-", "None", "None", "None"]
    assert legend.get_frame_on() is False
    saved[0].draw_without_rendering()
    box, canvas = legend.get_window_extent(), saved[0].bbox
    assert (box.x0 + box.x1) / 2 == pytest.approx(canvas.width / 2)
    panels: list[Any] = [axes.get_tightbbox() for axes in saved[0].axes]
    assert box.y0 > max(panel.y1 for panel in panels)
    assert box.y1 < canvas.height


def test_a_figure_is_of_its_kind_and_has_no_date() -> None:
    content = paper.figure([RUN], ["entropy"], ["norm"], [], "svg")
    assert content.startswith(b"<?xml")
    assert b"<dc:date>" not in content


def test_a_line_is_drawn_at_its_layers_and_interrupted_where_it_has_no_value() -> None:
    """A milestone is marked where the line has a value at its layer."""
    values = {"entropy": [4.0, None, 1.0]}
    marks = {"L_copy": 2, "L_semantic": 3, "first_kl_below_1.0": 5}
    line, axes = Line("norm", "a", [2, 3, 5], values, marks), axes_of_one_panel()
    paper.panel(axes, "entropy", [line], {("norm", "a"): paper.look("norm", 1)})
    lines: list[Any] = list(axes.get_lines())
    curve, *marked = lines
    np.testing.assert_array_equal(curve.get_xdata(), [2, 3, 5])
    np.testing.assert_array_equal(curve.get_ydata(), [4.0, np.nan, 1.0])
    assert (curve.get_label(), curve.get_color()) == ("norm", COLOURS[1])
    drawn = [(mark.get_marker(), list(mark.get_xdata()), list(mark.get_ydata())) for mark in marked]
    assert drawn == [("s", [2], [4.0]), ("v", [5], [1.0])]
    assert {mark.get_color() for mark in marked} == {COLOURS[1]}
    assert list(axes.texts) == []


def test_a_panel_without_values_says_so_in_its_middle() -> None:
    axes = axes_of_one_panel()
    lines = [Line("norm", name, [0, 1], {"p_answer": [None, None]}, {}) for name in "ab"]
    paper.panel(axes, "p_answer", lines, {("norm", name): paper.look(name, 0) for name in "ab"})
    texts: list[Any] = list(axes.texts)
    (text,) = texts
    assert (text.get_text(), text.get_position()) == ("no values", (0.5, 0.5))
    assert (text.get_ha(), text.get_va()) == ("center", "center")
    assert text.get_transform() == axes.transAxes


def test_layers_are_whole_and_ranks_are_written_out() -> None:
    axes = axes_of_one_panel()
    line = Line("norm", "a", [0, 1], {"answer_rank": [2000.0, 1.0]}, {})
    paper.panel(axes, "answer_rank", [line], {("norm", "a"): paper.look("norm", 0)})
    assert axes.get_yscale() == "log"
    assert axes.yaxis.get_major_formatter()(2000.0, 0) == "2,000"
    ticks = list(axes.xaxis.get_major_locator().tick_values(0, 3))
    assert ticks == [0, 1, 2, 3]


def test_beyond_the_last_colour_the_dashes_go_on() -> None:
    assert paper.look("_a", 8, 1) == {"label": " _a", "color": COLOURS[1], "linestyle": ":"}


def test_a_milestone_is_marked_by_an_outline_that_panels_do_not_cut() -> None:
    assert paper.mark("L_copy", "red") == {
        "color": "red",
        "linestyle": "none",
        "markerfacecolor": "none",
        "markeredgewidth": 0.7,
        "clip_on": False,
        "zorder": 3,
        "marker": "s",
        "markersize": 6.5,
    }
