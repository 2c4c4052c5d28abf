"""A signal's calls before the change and since, side by side."""

import numpy as np

from .axes import HEIGHT_PX, Figure, digits, share_axis, tick_text, value_axis
from .markup import plotly_text
from .series import Series, histogram_edges, share_with_interval

#: categories of one signal that are drawn
MAX_CATEGORIES = 5
#: smallest share, before or since, of a category that is drawn though it did not move
LEAST_SHARE = 0.005


def split_chart(before: Series, since: Series, categories: list[str]) -> Figure | None:
    """Both samples side by side; None where one of them is empty. `categories`: those to draw whatever their shares."""
    if not len(before.values) or not len(since.values):
        return None
    if before.is_share:
        return _share_bars(before, since, categories)
    return _histograms(before, since)


def _histograms(before: Series, since: Series) -> Figure:
    edges = histogram_edges(before.values, since.values, logarithmic=before.logarithmic)
    traces, shapes, highest = [], [], 0.0
    for colour, sample in (("before", before.values), ("since", since.values)):
        shares = np.histogram(sample, edges)[0] / len(sample)
        highest = max(highest, float(shares.max()))
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "x": digits(np.repeat(edges, 2), 5),
                "y": digits(np.concatenate([[0.0], np.repeat(shares, 2), [0.0]])),
                "fill": "tozeroy",
                "fillcolor": f"{colour}-soft",
                "line": {"width": 1.5, "color": colour},
                "hovertemplate": "%{y:.1%} of the calls<extra>" + colour + "</extra>",
            }
        )
        median = float(f"{np.median(sample):.4g}")
        shapes.append(
            {"type": "line", "x0": median, "x1": median, "y0": 0, "y1": 1, "yref": "paper"}
            | {"line": {"width": 1.5, "dash": "dash", "color": colour}}
        )
    x_axis = value_axis(float(edges[0]), float(edges[-1]), before.unit, logarithmic=before.logarithmic, most_ticks=5)
    layout = {"height": HEIGHT_PX, "margin": {"t": 18}, "xaxis": x_axis, "yaxis": share_axis(highest), "shapes": shapes}
    return {"data": traces, "layout": layout}


def _share_bars(before: Series, since: Series, wanted: list[str]) -> Figure:
    """A group of two bars for every category, under its name."""
    codes = _categories(before, since, wanted)
    traces: list[Figure] = []
    highest = 0.0
    share_texts: list[list[str]] = []
    # horizontal bars of a group stand from bottom to top: what comes last is the upper one
    for offset, colour, series in ((-0.22, "since", since), (0.0, "before", before)):
        bars = [share_with_interval(int((series.values == code).sum()), len(series.values)) for code in codes]
        share, low, high = np.array(bars).reshape(-1, 3).T
        highest = max(highest, float(high.max(initial=0.0)))
        share_texts.insert(0, [tick_text(each, "share") for each in share.tolist()])
        traces.append(
            {
                "type": "bar",
                "orientation": "h",
                "y": [-row for row in range(len(codes))],
                "x": digits(share),
                "width": 0.22,
                "offset": offset - 0.1,
                "marker": {"color": colour},
                "error_x": {"type": "data", "symmetric": False, "array": digits(high - share)}
                | {"arrayminus": digits(share - low), "color": "ink", "thickness": 1, "width": 3},
                "hovertemplate": "%{x:.2%}<extra>" + colour + "</extra>",
            }
        )
    names = [
        {"text": f"{plotly_text(name)}: {p} → {q}", "x": 0, "xref": "paper", "y": -row + 0.14, "xanchor": "left"}
        | {"yanchor": "bottom", "showarrow": False, "font": {"size": 12, "color": "ink"}}
        for row, (name, p, q) in enumerate(zip(codes.values(), *share_texts, strict=True))
    ]
    layout = {
        "height": max(HEIGHT_PX, 60 + 56 * len(codes)),
        "margin": {"t": 18, "l": 12},
        "hovermode": "closest",
        "annotations": names,
        "xaxis": share_axis(highest, most_ticks=4),
        "yaxis": {"range": [-len(codes) + 0.5, 0.6], "visible": False},
    }
    return {"data": traces, "layout": layout}


def _categories(before: Series, since: Series, wanted: list[str]) -> dict[float, str]:
    """What gets bars: categories that moved, then the most frequent."""
    names = before.categories
    if names is None:
        return {1.0: "yes"}
    codes = {*np.unique(before.values).tolist(), *np.unique(since.values).tolist()}
    share = {code: max(float((series.values == code).mean()) for series in (before, since)) for code in codes}
    named = {code: names[int(code)] for code in codes}
    kept = [code for code in codes if share[code] >= LEAST_SHARE or named[code] in wanted]
    kept.sort(key=lambda code: (named[code] not in wanted, -share[code], code))
    return {code: named[code] for code in kept[:MAX_CATEGORIES]}
