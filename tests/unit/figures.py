"""What every figure must be like."""

from matplotlib.figure import Figure
from matplotlib.text import Text


def assert_texts_within(figure: Figure) -> None:
    """No text leaves the figure."""
    figure.draw_without_rendering()
    width, height = figure.canvas.get_width_height()
    # A tick's label is not drawn beyond the limits of its axis.
    labels = [[*ax.get_xticklabels(), *ax.get_yticklabels()] for ax in figure.axes]
    for text in set(figure.findobj(Text)).difference(*labels):
        if text.get_text() and text.get_visible():
            box = text.get_window_extent()
            assert box.x0 >= -1 and box.x1 <= width + 1, text.get_text()
            assert box.y0 >= -1 and box.y1 <= height + 1, text.get_text()
