"""Is a fixed style vocabulary as good as one that is chosen freely from each scope's own outputs?"""

import re
from collections import Counter
from functools import cache

import numpy as np
from leeboard.detectors.vector.store import FIT_EVENTS
from leeboard.pipelines.watch.texts.signals import CONDITIONAL, SIGNALS, STYLE
from leeboard.schemas import STYLE as VOCABULARY

from tests.realdata.text_streams import NULLS, UPDATES, Calls, Maker, update
from tests.realdata.texts import texts_of

#: words with their contractions, line breaks, Markdown marks, any other sign
TOKEN = re.compile(r"\w+(?:['’]\w+)*|\n+|\*\*|#+|`+|[^\w\s]")


@cache
def tokens_of(corpus: str) -> list[Counter[str]]:
    """Tokens of every text of a corpus, lower case."""
    return [Counter(TOKEN.findall(text.lower())) for text in texts_of(corpus)]


def freely(make: Maker, before: str, after: str, events: int, more: int) -> Maker:
    """The stream `update(before, after, events, more)` with the tokens that most of its first outputs use."""

    def chosen(order: int) -> Calls:
        outputs, inputs = make(order)
        assert outputs is not None
        rng = np.random.default_rng(500 + order)
        first, second = (rng.integers(0, len(tokens_of(f"alpaca.{before}")), n) for n in (events, more))
        texts = [tokens_of(f"alpaca.{before}")[k] for k in first] + [tokens_of(f"alpaca.{after}")[k] for k in second]
        users = Counter(token for text in texts[:FIT_EVENTS] for token in text)
        places = {token: place for place, (token, _) in enumerate(users.most_common(len(VOCABULARY)))}
        style = np.zeros_like(outputs.style)
        for k, text in enumerate(texts):
            for token in text.keys() & places.keys():
                style[k, places[token]] = min(text[token], 255)
        totals = np.array([text.total() for text in texts])
        return outputs._replace(style=style, tokens=totals), inputs

    return chosen


def streams(events: int, more: int) -> list[tuple[str, Maker, Maker]]:
    """Name, with the fixed vocabulary, with a free one."""
    found = []
    for name, pair in {**NULLS, **UPDATES}.items():
        fixed = update(*pair, events, more)
        found.append((name, fixed, freely(fixed, *pair, events, more)))
    return found


#: the signals that look at style
STYLED = (SIGNALS[STYLE], SIGNALS[CONDITIONAL])
