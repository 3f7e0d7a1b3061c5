"""Curves as SVG that is part of a page: its text and colors are those of the page."""

import io
import re
from collections.abc import Sequence

import numpy as np

from jaxgan.outputs.curves import Curve, Panel

INK, FAINT = "#010203", "#010204"
CURVES = ("#010205", "#010206", "#010207", "#010208")
"""Stand-ins for colors that the style sheet of the page defines."""
COLORS = {
    INK: "currentColor",
    FAINT: "var(--faint)",
    **{color: f"var(--curve-{i})" for i, color in enumerate(CURVES, 1)},
}
SIZE = (3.4, 2.0)
"""Width and height of a panel in inches of 72 units of the SVG."""


def draw_panel(panel: Panel) -> str:
    """Returns the `<svg>` of a panel, without its title and its labels."""
    import matplotlib
    from matplotlib.figure import Figure

    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": "jaxgan",
        "font.size": 8.5,
        "text.color": INK,
        "axes.edgecolor": FAINT,
        "axes.linewidth": 0.6,
        "xtick.color": FAINT,
        "ytick.color": FAINT,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=SIZE)
        figure.subplots_adjust(0.14, 0.13, 0.985, 0.96)  # Fast.
        axes = figure.subplots()
        for curve, color in zip(panel.curves, CURVES, strict=False):
            _draw_curve(axes, curve, color)
        _set_axes(axes, panel)
        text = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    return _embed(text.getvalue())


def _draw_curve(axes, curve: Curve, color: str) -> None:
    marker = "o" if len(curve.steps) == 1 else ""
    axes.fill_between(curve.steps, curve.low, curve.high, color=color, alpha=0.22, linewidth=0)
    axes.plot(curve.steps, curve.middle, color=color, linewidth=1.3, marker=marker, markersize=3)


def _set_axes(axes, panel: Panel) -> None:
    from matplotlib import ticker

    axes.grid(axis="y", color=FAINT, alpha=0.35, linewidth=0.5)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda step, _: _short(step)))
    if panel.logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=_marks(panel.curves)))
        axes.yaxis.set_minor_locator(ticker.NullLocator())
    else:
        axes.yaxis.set_major_locator(ticker.MaxNLocator(5))
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:.4g}"))
    if panel.limits is not None:
        axes.set_ylim(panel.limits)
    axes.tick_params(length=2, width=0.6, pad=2)


def _marks(curves: Sequence[Curve]) -> tuple[float, ...]:
    """Returns the multiples of powers of ten that a logarithmic axis marks."""
    values = np.concatenate([each for curve in curves for each in (curve.low, curve.high)])
    values = values[values > 0]
    decades = np.log10(values.max() / values.min())
    return (1.0,) if decades > 3 else (1.0, 3.0) if decades > 1.2 else (1.0, 2.0, 3.0, 5.0, 7.0)


def _short(step: float) -> str:
    """Returns a number of steps in few characters, such as 20k."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if abs(step) >= size:
            return f"{step / size:g}{unit}"
    return f"{step:g}"


def _embed(svg: str) -> str:
    """Returns an SVG of Matplotlib as part of a page: without what would change other parts."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    used = {*re.findall(r"#([\w-]+)[\")]", svg)}
    svg = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", svg)
    svg = re.sub(r"font-family: [^;\"]*; | transform=\"rotate\(-0 [^\"]*\"", "", svg)
    size = "{:g} {:g}".format(*(72 * side for side in SIZE))
    svg = re.sub(r"<svg[^>]*>", f'<svg viewBox="0 0 {size}" aria-hidden="true">', svg, count=1)
    svg = svg.replace("xlink:href", "href")
    for stand_in, color in COLORS.items():
        svg = svg.replace(stand_in, color)
    return re.sub(r"\s*\n\s*", "\n", svg).strip()
