"""Days of views and visitors as a picture for a dark background. Importing this imports matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from scheduler_web.reports.chart import Day

BACKGROUND, TEXT, FAINT, GRID = "#2b2d31", "#dbdee1", "#949ba4", "#3f4248"
VIEWS, VIEWS_TEXT, VISITORS = "#5865f2", "#8b95f7", "#f0b232"
WIDTH_IN, HEIGHT_IN, DOTS = 6.0, 3.0, 200


def drawn(days: Sequence[Day], note: str) -> bytes:
    """A PNG of 1,200 × 600 dots. The last day is the current one, not over yet; `note` says until when."""
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), dpi=DOTS, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.1, 0.2, 0.875, 0.61), facecolor=BACKGROUND)
    _bars(axes, days)
    _visitors(axes, days)
    _frame(figure, axes, days, note)
    target = BytesIO()
    figure.savefig(target, format="png", facecolor=BACKGROUND)
    return target.getvalue()


def _bars(axes: Axes, days: Sequence[Day]) -> None:
    views = [day.views for day in days]
    bars = axes.bar(range(len(days)), views, width=0.68, color=VIEWS, zorder=2)
    today = bars.patches[-1]
    today.set_facecolor((*_rgb(VIEWS), 0.35))
    today.set_edgecolor(VIEWS)
    today.set_linewidth(1.5)
    today.set_linestyle((0, (4, 2)))


def _visitors(axes: Axes, days: Sequence[Day]) -> None:
    visitors = [day.visitors for day in days]
    last = len(days) - 1
    axes.plot(
        range(last), visitors[:-1], color=VISITORS, linewidth=2.2, marker="o", markersize=5, zorder=3,
        clip_on=False,
    )  # fmt: skip
    if last:
        axes.plot(
            [last - 1, last], visitors[-2:], color=VISITORS, linewidth=1.6, linestyle=(0, (3, 2)), zorder=3
        )
    axes.plot(
        [last], visitors[-1:], color=BACKGROUND, marker="o", markersize=6, markeredgecolor=VISITORS,
        markeredgewidth=1.8, zorder=4, clip_on=False,
    )  # fmt: skip


def _frame(figure: Figure, axes: Axes, days: Sequence[Day], note: str) -> None:
    """Few lines, large letters: most people see it on a phone."""
    for side in axes.spines.values():
        side.set_visible(False)
    axes.grid(axis="y", color=GRID, linewidth=0.8, zorder=0)
    axes.set_xlim(-0.6, len(days) - 0.4)
    axes.set_ylim(0, max(1.0, max(max(day.views, day.visitors) for day in days) * 1.12))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.tick_params(axis="both", length=0, labelsize=12.5, colors=FAINT)
    axes.set_xticks(range(len(days)), [f"{day.day:%a}"[:2] + f"\n{day.day.day}" for day in days])
    label = axes.get_xticklabels()[-1]
    label.set_color(TEXT)
    label.set_fontweight("bold")
    for x, text, color in ((0.03, "Views", VIEWS_TEXT), (0.17, "Visitors", VISITORS)):
        axes.text(x, 0.9, text, transform=figure.transFigure, color=color, fontsize=16, fontweight="bold")
    axes.text(0.97, 0.9, note, transform=figure.transFigure, color=FAINT, fontsize=12.5, ha="right")


def _rgb(color: str) -> tuple[float, float, float]:
    red, green, blue = (int(color[n : n + 2], 16) / 255 for n in (1, 3, 5))
    return red, green, blue


def short(value: float) -> str:
    """1,250 → "1.3k", 2,000,000 → "2M"."""
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if abs(value) >= size:
            return f"{value / size:.1f}".removesuffix(".0") + unit
    return f"{value:.0f}"
