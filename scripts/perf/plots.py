"""Pictures: what all of them have in common."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend comes first)
from matplotlib.figure import Figure  # noqa: E402


def style() -> None:
    """Gives all pictures from now on the same look."""
    plt.rcParams.update(STYLE)


def save(figure: Figure, path: Path) -> None:
    """Writes a picture as SVG, the same file for the same figures."""
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def tick(value: float, _position: float | None = None) -> str:
    """The label of a value on an axis: 1M, 20k, 0.5."""
    for divisor, unit in ((1e6, "M"), (1e3, "k")):
        if value >= divisor:
            return f"{value / divisor:g}{unit}"
    return f"{value:g}"


BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY, BLACK = "#CC79A7", "#56B4E9", "#999999", "#000000"
"""Okabe and Ito's, which the colour-blind can tell apart, too."""

STYLE = {
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    # In the place of a random one.
    "svg.hashsalt": "bullhorn",
    # The same letters where the font is missing.
    "svg.fonttype": "path",
}
"""Little ink beside the figures, and white behind them where a page is dark."""
