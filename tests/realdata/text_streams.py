"""Streams of real texts with known changes: prompts and outputs of dated models, and prompts whose topics move."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from .texts import Side, domains, join, measured, sources

#: outputs (None: not there) and inputs of the calls of a stream
Calls = tuple[Side | None, Side]
#: order -> calls
Maker = Callable[[int], Calls]
Integers = npt.NDArray[np.int64]

#: name -> (before, after): versions that answer the same prompts
NULLS = {
    "gpt4 > 0314 (null)": ("gpt4", "gpt4_0314"),
    "vicuna > togetherai (null)": ("vicuna-13b-v1.5", "vicuna-13b-v1.5-togetherai"),
}
UPDATES = {
    "0314 > 0613": ("gpt4_0314", "gpt4_0613"),
    "0613 > 1106": ("gpt4_0613", "gpt4_1106_preview"),
    "1106 > 0125, silent": ("gpt4_1106_preview", "gpt-4-0125-preview"),
    "0125 > turbo": ("gpt-4-0125-preview", "gpt-4-turbo-2024-04-09"),
    "0613 > concise": ("gpt4_0613", "gpt4_0613_concise"),
    "1106 > verbose": ("gpt4_1106_preview", "gpt4_1106_preview_verbose"),
    "Mistral .2 > .3, silent": ("Mistral-7B-Instruct-v0.2", "Mistral-7B-Instruct-v0.3"),
}
#: four of them, and four that are none, for the shifts of the mix
MIXED_UPDATES = ("0314 > 0613", "1106 > 0125, silent", "Mistral .2 > .3, silent", "0125 > turbo")
MIXED_NULLS = (*NULLS.values(), ("gpt4_1106_preview", "gpt4_1106_preview"), ("gpt4_0613", "gpt4_0613"))
#: sources of alpaca's prompts whose share moves; the others have the rest
MOVING = ("selfinstruct", "oasst")


def update(before: str, after: str, events: int, more: int) -> Maker:
    """Prompts of alpaca drawn with replacement: `events` to one version, `more` to the next."""

    def make(order: int) -> Calls:
        rng = np.random.default_rng(500 + order)
        prompts = measured("alpaca")
        first, second = (rng.integers(0, len(prompts.tokens), n) for n in (events, more))
        outputs = join(measured(f"alpaca.{before}").take(first), measured(f"alpaca.{after}").take(second))
        return outputs, prompts.take(np.concatenate([first, second]))

    return make


def opinions(events: int, more: int) -> Maker:
    """The same with the questions of OPINIONQA and GPT-3.5 of March and June."""

    def make(order: int) -> Calls:
        rng = np.random.default_rng(500 + order)
        march, june = (measured(f"OPINIONQA.gpt-3.5-turbo-{version}") for version in ("0301", "0613"))
        first, second = (rng.integers(0, len(march.tokens), n) for n in (events, more))
        prompts = measured("OPINIONQA").take(np.concatenate([first, second]))
        return join(march.take(first), june.take(second)), prompts

    return make


def mix(before: str, after: str, share: float, later: float, events: int, more: int) -> Maker:
    """A share of the prompts of alpaca comes from MOVING, later another one."""

    def make(order: int) -> Calls:
        rng = np.random.default_rng(order)
        moving = np.isin(sources(), MOVING)
        shares = np.repeat([share, later], [events, more])
        chosen = rng.random(events + more) < shares
        drawn = np.where(chosen, *(rng.choice(np.flatnonzero(each), events + more) for each in (moving, ~moving)))
        outputs = [measured(f"alpaca.{model}") for model in (before, after)]
        return join(outputs[0].take(drawn[:events]), outputs[1].take(drawn[events:])), measured("alpaca").take(drawn)

    return make


def tasks(after: str, share: float, later: float, events: int, more: int) -> Maker:
    """A share of PRIME, the rest OPINIONQA, to gpt-4-0314 and then to `after`; no prompt twice."""

    def make(order: int) -> Calls:
        rng = np.random.default_rng(order)
        left = {"PRIME_FULL": rng.permutation(1000).tolist(), "OPINIONQA": rng.permutation(1506).tolist()}
        outputs, inputs = [], []
        for n, part, model in ((events, share, "gpt-4-0314"), (more, later, after)):
            for prime in (rng.random(n) < part).tolist():
                task = "PRIME_FULL" if prime else "OPINIONQA"
                number = [left[task].pop()]
                outputs.append(measured(f"{task}.{model}").take(number))
                inputs.append(measured(task).take(number))
        return join(*outputs), join(*inputs)

    return make


def runs(groups: list[Integers], weights: list[float], length: int, events: int, order: int) -> Integers:
    """Numbers of texts in runs of mean `length` out of one group each."""
    rng = np.random.default_rng(70 + order)
    found: list[int] = []
    while len(found) < events:
        group = groups[int(rng.choice(len(groups), p=weights))]
        found += rng.choice(group, rng.geometric(1 / length)).tolist()
    return np.array(found[:events])


def bursts(model: str, length: int, events: int) -> Maker:
    """One model, prompts of alpaca in runs from one source each."""

    def make(order: int) -> Calls:
        names = sources()
        groups = [np.flatnonzero(names == name) for name in np.unique(names)]
        chosen = runs(groups, [len(group) / len(names) for group in groups], length, events, order)
        return measured(f"alpaca.{model}").take(chosen), measured("alpaca").take(chosen)

    return make


def domain_bursts(length: int, events: int) -> Maker:
    """Utterances of clinc in runs from one domain each."""

    def make(order: int) -> Calls:
        names = domains()
        groups = [np.flatnonzero(names == name) for name in np.unique(names)]
        return None, measured("clinc").take(runs(groups, [1 / len(groups)] * len(groups), length, events, order))

    return make


def _mixed(old: Side, new: Side, share: float, events: int, more: int, rng: np.random.Generator) -> Calls:
    """Old texts, of the last `more` a share replaced by new ones; no text twice."""
    chosen = np.flatnonzero(rng.random(more) < share)
    side = old.take(rng.permutation(len(old.tokens))[: events + more])
    fresh = new.take(rng.permutation(len(new.tokens))[: len(chosen)])
    for column, values in zip(side, fresh, strict=True):
        column[events + chosen] = values
    return None, side


def utterances(share: float, events: int, more: int, new: str = "banking") -> Maker:
    """Utterances of clinc without banking, later a share of banking, or of the red team's prompts."""

    def make(order: int) -> Calls:
        banking = domains() == "banking"
        texts = measured("clinc")
        fresh = texts.take(banking) if new == "banking" else measured(new)
        old = texts.take(~banking) if new == "banking" else texts
        return _mixed(old, fresh, share, events, more, np.random.default_rng(1000 + order))

    return make


def questions(share: float) -> Maker:
    """600 English questions of xquad, then 590 of which a share is Spanish."""

    def make(order: int) -> Calls:
        rng = np.random.default_rng(1000 + order)
        return _mixed(measured("xquad.en"), measured("xquad.es"), share, 600, 590, rng)

    return make


def abstracts(before: int, after: int, events: int, more: int) -> Maker:
    """Abstracts of one year, then of another."""

    def make(order: int) -> Calls:
        rng = np.random.default_rng(1000 + order)
        old, new = measured(f"abstracts.{before}"), measured(f"abstracts.{after}")
        first, second = (rng.permutation(len(side.tokens)) for side in (old, new))
        return None, join(old.take(first[:events]), new.take(second[:more]))

    return make
