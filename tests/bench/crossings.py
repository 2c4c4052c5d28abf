"""False crossings: iid laws, dependent nulls, shuffled and real streams; documented changes; River's detectors."""

from collections.abc import Callable, Iterable

import numpy as np
from leeboard.detectors.core.jit import Floats
from scipy.signal import lfilter
from scipy.stats import poisson

from tests.realdata import Values, load, names, series, values

from .drive import Method, at_level, firings
from .rivals import ADWIN_SWEEP, DEFAULTS, KSWIN_SWEEP, PAGE_HINKLEY_SWEEP, adwin, kswin, page_hinkley
from .table import note, table

LEVELS = (1e3, 1e4, 1e5)
SEEDS = (0, 1, 2)
#: streams that KSWIN can walk through in reasonable time
KSWIN_EVENTS = 9000


def call_views() -> dict[str, Values]:
    """Every quantity of every real call stream, by name."""
    return {f"{name}.{view}": v for name in names() for view, v in values(load(name)).items()}


def is_draw(name: str) -> bool:
    """Is the stream drawn from ServeGen's histograms (iid inside a window)?"""
    return name.startswith("servegen")


def laws(rng: np.random.Generator, n: int) -> dict[str, Floats]:
    """Ten marginal laws, iid."""
    z = rng.standard_normal(n)
    return {
        "normal": z,
        "lognormal": np.exp(0.8 * z),
        "Pareto 1.5": rng.pareto(1.5, n),
        "Cauchy": rng.standard_cauchy(n),
        "uniform": rng.random(n),
        "Poisson 3": rng.poisson(3, n).astype(float),
        "scores 1-5": rng.choice([1.0, 2, 3, 4, 5], n, p=[0.05, 0.05, 0.2, 0.4, 0.3]),
        "80 % zeros": np.where(rng.random(n) < 0.8, 0, np.round(np.exp(5 + z))),
        "Bernoulli .02": (rng.random(n) < 0.02) * 1.0,
        "bimodal": np.where(rng.random(n) < 0.4, 20 + 3 * z, 300 + 60 * z),
    }


def dependent(rng: np.random.Generator, n: int) -> dict[str, Floats]:
    """Streams that wander in a way that does not change."""

    def ar(phi: float) -> Floats:
        shocks = rng.standard_normal(n) * np.sqrt(1 - phi * phi)
        shocks[0] = rng.standard_normal()
        walked: Floats = lfilter([1], [1, -phi], shocks)
        return walked

    noise = rng.standard_normal(n)
    frequencies = np.fft.rfftfreq(n)[1:]
    phases = rng.standard_normal(frequencies.size) + 1j * rng.standard_normal(frequencies.size)
    long_memory = np.fft.irfft(np.concatenate([[0], phases * frequencies**-0.35]), n)

    def regimes(length: int, sd: float) -> Floats:
        switch = rng.random(n) < 1 / length
        return noise + (rng.standard_normal(n) * sd)[np.maximum.accumulate(np.where(switch, np.arange(n), 0))]

    return {
        "AR .3": ar(0.3),
        "AR .6": ar(0.6),
        "AR .9": ar(0.9),
        "AR .98, sd .5, + noise": noise + 0.5 * ar(0.98),
        "AR .998, sd .4, + noise": noise + 0.4 * ar(0.998),
        "random walk .01 + noise": noise + np.cumsum(rng.standard_normal(n)) * 0.01,
        "long memory d = .35": long_memory / long_memory.std(),
        "regimes of 200, sd .5": regimes(200, 0.5),
        "sessions of 20, sd 1": regimes(20, 1.0),
    }


def verdict(count: int, budget: float) -> str:
    """Count against budget, with the 99 % quantile that it must not exceed."""
    limit = int(poisson.ppf(0.99, budget))
    return f"{count} / {budget:.1f}" + ("" if count <= limit else f" (over: limit {limit})")


def synthetic(make: Callable[[np.random.Generator, int], dict[str, Floats]], repeats: int, n: int) -> list[list[str]]:
    """Rows of a table: crossings of every law at every level."""
    counts: dict[str, dict[float, int]] = {}
    for repeat in range(repeats):
        for name, x in make(np.random.default_rng(4200 + repeat), n).items():
            for level in LEVELS:
                found = firings(Values(x, "dev"), level, repeat).size
                counts.setdefault(name, dict.fromkeys(LEVELS, 0))[level] += found
    return [[name, *(verdict(row[a], repeats * n / a) for a in LEVELS)] for name, row in counts.items()]


def resampled(views: dict[str, Values], block: int, level: float) -> tuple[int, int]:
    """Crossings and events of the quiet parts, shuffled (`block` 1) or in random blocks."""
    found = events = 0
    for v in views.values():
        x = v.values[v.quiet()]
        if x.size < 300 or v.binary:
            continue
        for repeat in range(2):
            rng = np.random.default_rng(repeat)
            if block == 1:
                y = rng.permutation(x)
            else:
                y = np.concatenate([x[i : i + block] for i in rng.integers(0, x.size - block, x.size // block)])
            events += y.size
            found += firings(Values(y, "dev"), level, repeat).size
    return found, events


def judge(views: dict[str, Values], method: Method, seeds: Iterable[int]) -> tuple[float, int, list[int | None]]:
    """False alarms (mean over seeds), quiet events, and delays of every documented change (of the first seed)."""
    false: list[int] = []
    delays: list[int | None] = []
    quiet = sum(int(v.quiet().sum()) for v in views.values())
    for seed in seeds:
        scores = [v.score(method(v, seed).tolist()) for v in views.values()]
        false.append(sum(count for count, _ in scores))
        if not delays:
            delays = [delay for _, found in scores for delay in found.values()]
    return float(np.mean(false)), quiet, delays


def real_rows(views: dict[str, Values], methods: dict[str, Method], seeds: tuple[int, ...]) -> list[list[str]]:
    """Rows of a table: false alarms, those outside ServeGen, changes missed, delay beside ours where both found."""
    outside = {k: v for k, v in views.items() if not is_draw(k)}
    ours = judge(views, at_level(1e4), (0,))[2]
    rows = []
    for name, method in methods.items():
        own = seeds if name.startswith("leeboard") else (0,)
        false, quiet, delays = judge(views, method, own)
        false_outside, quiet_outside, _ = judge(outside, method, own)
        both = [(d, o) for d, o in zip(delays, ours, strict=True) if d is not None and o is not None]
        delay = [np.exp(np.mean([np.log(pair[k] + 1) for pair in both])) - 1 for k in (0, 1)] if both else [np.nan] * 2
        missed = sum(d is None for d in delays)
        rows.append(
            [
                name,
                f"{false:.1f}",
                f"{false_outside:.1f}",
                f"{missed} / {len(delays)}",
                f"{delay[0]:.0f} : {delay[1]:.0f}",
            ]
        )
    rows.append(["quiet events", f"{quiet:,}", f"{quiet_outside:,}", "", ""])
    return rows


def tuned(views: dict[str, Values], allowed: float) -> dict[str, Method]:
    """River's detectors, each at its most sensitive threshold without more false alarms than ours on these streams."""
    chosen: dict[str, Method] = {}
    sweeps = (("ADWIN", adwin, ADWIN_SWEEP), ("Page-Hinkley", page_hinkley, PAGE_HINKLEY_SWEEP))
    for name, make, sweep in sweeps:
        for parameter in sweep:
            if judge(views, make(parameter), (0,))[0] <= allowed or parameter == sweep[-1]:
                chosen[f"{name} matched ({parameter:g})"] = make(parameter)
                break
    return chosen


def section() -> str:
    """False crossings and documented changes."""
    parts = ["### Synthetic streams: crossings / budget\n"]
    parts.append(table(["iid, 200,000 events", "A = 1e3", "A = 1e4", "A = 1e5"], synthetic(laws, 10, 20_000)))
    parts.append(
        table(["dependent, 200,000 events", "A = 1e3", "A = 1e4", "A = 1e5"], synthetic(dependent, 10, 20_000))
    )
    views = call_views()
    numeric = {k: v for k, v in views.items() if not v.binary}
    rows = []
    for name, block in (("shuffled", 1), ("random blocks of 100", 100)):
        cells = [resampled(numeric, block, level) for level in LEVELS]
        budgets = [verdict(f, n / a) for (f, n), a in zip(cells, LEVELS, strict=True)]
        rows.append([name, f"{cells[0][1]:,}", *budgets])
    parts.append("### Real call streams, resampled: crossings / budget\n")
    parts.append(table(["quiet parts", "events", "A = 1e3", "A = 1e4", "A = 1e5"], rows))
    parts.append("### Real call streams as they are\n")
    parts.append(budget_table(views))
    dev = {k: v for k, v in views.items() if v.split == "dev"}
    allowed = judge(dev, at_level(1e4), SEEDS)[0]
    methods = {f"leeboard {a:.0e}": at_level(a) for a in LEVELS} | DEFAULTS | tuned(dev, allowed)
    head = ["method", "false", "without ServeGen", "changes missed", "delay : leeboard 1e4"]
    for split in ("dev", "test"):
        chosen = {k: v for k, v in views.items() if v.split == split}
        parts.append(f"{split} streams ({len(chosen)}); rivals matched to our false alarms at 1e4 on dev\n")
        parts.append(table(head, real_rows(chosen, methods, SEEDS)))
    short = {k: v for k, v in views.items() if v.values.size < KSWIN_EVENTS and not is_draw(k)}
    fast = {"leeboard 1e+04": at_level(1e4), **{f"KSWIN {a:g}": kswin(a) for a in KSWIN_SWEEP[:3]}}
    parts.append(f"KSWIN, on the {len(short)} short streams outside ServeGen\n")
    parts.append(table(head, real_rows(short, fast, (0,))))
    parts.append("### Infrastructure series (NAB, TCPD): what leeboard is not made for\n")
    parts.append(budget_table(series()))
    parts.append(note("Seeds 0, 1, 2 stand for call ids. Delays are geometric means over changes that both found."))
    return "\n".join(parts)


def budget_table(views: dict[str, Values]) -> str:
    """Crossings against the budget, with and without ServeGen's draws, mean over seeds."""
    rows = []
    for name, chosen in (("all", views), ("without ServeGen", {k: v for k, v in views.items() if not is_draw(k)})):
        quiet = sum(int(v.quiet().sum()) for v in chosen.values())
        cells = []
        for level in LEVELS:
            counts = [round(judge(chosen, at_level(level), (seed,))[0]) for seed in SEEDS]
            cells.append(", ".join(str(c) for c in counts) + f" / {quiet / level:.1f}")
        rows.append([name, str(len(chosen)), f"{quiet:,}", *cells])
    return table(["streams", "number", "quiet events", "A = 1e3", "A = 1e4", "A = 1e5"], rows)
