"""Pictures: what all of them have in common."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend comes first)

# Okabe and Ito's colours, which the colour-blind can tell apart, too.
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, GREY, BLACK = "#CC79A7", "#56B4E9", "#999999", "#000000"

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
    # The same input gives the same file.
    "svg.hashsalt": "bullhorn",
    "svg.fonttype": "path",
}


def style():
    plt.rcParams.update(STYLE)


def save(figure, path):
    """Writes a picture in the format of the path's ending, without a date in it."""
    is_svg = str(path).endswith(".svg")
    figure.savefig(path, dpi=110, metadata={"Date": None} if is_svg else None)
    plt.close(figure)


def thousands(value):
    """A figure with three significant digits: 812, 4.2k, 1.31M."""
    for divisor, unit in ((1e6, "M"), (1e3, "k")):
        if value >= divisor * 0.9995:
            scaled = value / divisor
            digits = 0 if scaled >= 99.95 else 1 if scaled >= 9.995 else 2
            return f"{scaled:.{digits}f}{unit}"
    return f"{value:.0f}"


def tick(value, _position=None):
    """The same for an axis, without zeros at the end: 1M, 0.5."""
    for divisor, unit in ((1e6, "M"), (1e3, "k")):
        if value >= divisor:
            return f"{value / divisor:g}{unit}"
    return f"{value:g}"
