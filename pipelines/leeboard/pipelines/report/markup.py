"""Names and levels as they stand in charts and HTML, where `<` and `&` would be read as markup."""

import html
import textwrap

from leeboard.pipelines.wording import exponent, printable, shorten
from markupsafe import Markup

#: longest name in a chart, and longest line of a hover text
MAX_LABEL, HOVER_LINE = 44, 72
#: most lines of a hover text
MAX_HOVER_LINES = 7


def plotly_text(text: str, most: int = MAX_LABEL) -> str:
    """A name for a chart, where `<` and `&` would be read as markup."""
    return html.escape(shorten(printable(text), most), quote=False)


def hover_text(*paragraphs: str) -> str:
    """Lines for a chart's hover box."""
    lines = [line for text in paragraphs for line in textwrap.wrap(printable(text), HOVER_LINE)]
    if len(lines) > MAX_HOVER_LINES:
        lines = [*lines[: MAX_HOVER_LINES - 1], "…"]
    return "<br>".join(html.escape(line, quote=False) for line in lines)


def level_markup(log10_level: float) -> Markup:
    """A level in HTML."""
    return Markup("1 in 10<sup>{}</sup> calls").format(exponent(log10_level))
