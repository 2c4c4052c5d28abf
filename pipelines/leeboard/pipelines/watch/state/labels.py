"""The discrete side of a scope's calls: categories of its categorical signals, and sets of labels for its ring.

Calls of a scope repeat a few combinations of model, prompt version, finish reason, user labels ... Each combination is
looked up once and carries its codes. A label with more than WILD_VALUES values in WILD_CALLS calls (a request id, a
prompt with the date in it) tells nothing and is left out from then on.
"""

from collections.abc import Sequence

from leeboard.pipelines.signals import CATEGORICAL, CATEGORICAL_COLUMNS
from leeboard.schemas import Observation
from msgspec import Struct, field

from .layout import CATEGORIES

#: combinations of labels that are kept apart; a ring of 2,000 calls rarely holds more than twenty
MAX_COMBINATIONS = 512
#: a label with more values than this in so many calls is no label
WILD_VALUES = 50
WILD_CALLS = 500
#: labels whose values are counted, and labels known to be wild; a call has at most 17, and 11 of its categories
MAX_COUNTED = 256
#: code of a combination for a signal that its scope's state did not hold: looked up when the combination comes again
UNKNOWN = 0x80
#: code for a signal that a combination does not measure
ABSENT = 0xFF
#: the category that stands for all beyond the first CATEGORIES - 1
OTHER = "other"

_NAMES = [signal.name for signal in CATEGORICAL]
_TOOL_NAMES = _NAMES.index("tool_names")
Key = tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...], tuple[str, ...]]


def identities(observation: Observation) -> tuple[tuple[str, str], ...]:
    """The categories of a call, with what measured its texts."""
    found = tuple(observation.categories.items())
    if observation.text_version is not None:
        found += (("text_version", observation.text_version),)
    embedder = embedder_of(observation)
    return found if embedder is None else (*found, ("embedder", embedder))


def embedder_of(observation: Observation) -> str | None:
    """What made the vectors of a call; None where it has none."""
    for side in (observation.input, observation.output):
        if side is not None and side.embedder is not None:
            return side.embedder
    return None


class Combination(Struct, array_like=True):
    """Labels that came together: their number in the ring, the call that had them last, and the codes."""

    number: int
    last_call: int
    codes: bytes
    labels: dict[str, str]


class Labels(Struct, array_like=True):
    """What the calls of one scope were labelled with, as far as it is kept."""

    #: column -> category -> its number
    categories: list[dict[str, int]] = field(default_factory=lambda: [{} for _ in range(CATEGORICAL_COLUMNS)])
    combinations: dict[Key, Combination] = {}
    #: labels that turned out to be wild (a set, in the order in which they did: equal states have equal bytes)
    wild: dict[str, None] = {}
    #: values (a set again) of every label in the running window of WILD_CALLS calls, and the call it began with
    window: dict[str, dict[str, None]] = {}
    window_start: int = 0

    def look_up(
        self, observation: Observation, call: int, keep_calls: int, off: frozenset[str]
    ) -> tuple[Combination, list[tuple[int, int]]]:
        """The combination of call number `call`, and the (column, category) pairs that are new with it.

        `keep_calls`: combinations not seen for so many calls may be dropped; `off`: signals that are switched off.
        """
        key = (identities(observation), tuple(observation.labels.items()), observation.tools)
        if self.wild:
            key = self._tamed(key)
        if call - self.window_start >= WILD_CALLS:
            self.window_start = call
            self.window = {}
        known = self.combinations.get(key)
        if known is not None:
            if known.last_call < self.window_start:
                self._count(known.labels)
            known.last_call = call
            return known, self._complete(key, known, call, keep_calls, off) if UNKNOWN in known.codes else []
        return self._add(key, call, keep_calls, off)

    def name(self, column: int, category: int) -> str:
        """Name of a category."""
        return next((name for name, k in self.categories[column].items() if k == category), OTHER)

    def by_number(self) -> dict[int, dict[str, str]]:
        """Label sets by their number in the ring."""
        return {known.number: known.labels for known in self.combinations.values()}

    def code(self, column: int, name: str, call: int, keep_calls: int) -> tuple[int, bool]:
        """Number of a category, and whether it is new. A category unseen for `keep_calls` calls loses its number."""
        table = self.categories[column]
        if name in table:
            return table[name], False
        if name != OTHER:  # a value of that name shares the number of all others
            taken = set(table.values())
            free = next((k for k in range(CATEGORIES - 1) if k not in taken), None)
            if free is not None:
                table[name] = free
                return free, True
            unseen = self._unseen(column, call - keep_calls)
            if unseen is not None:
                table[name] = table.pop(unseen)
                return table[name], True
        new = OTHER not in table
        table[OTHER] = CATEGORIES - 1
        return CATEGORIES - 1, new

    def _unseen(self, column: int, since_call: int) -> str | None:
        """A category that no call from `since_call` on had; its combinations are dropped.

        None for the categories of a score, which are no labels: they keep their numbers.
        """
        if column >= len(CATEGORICAL):
            return None
        recent = {known.codes[column] for known in self.combinations.values() if known.last_call >= since_call}
        for name, k in self.categories[column].items():
            if k not in recent and name != OTHER:
                self.combinations = {key: c for key, c in self.combinations.items() if c.codes[column] != k}
                return name
        return None

    def _add(
        self, key: Key, call: int, keep_calls: int, off: frozenset[str]
    ) -> tuple[Combination, list[tuple[int, int]]]:
        labels = {**dict(key[0]), **dict(key[1])}
        if self._count(labels):
            key = self._tamed(key)
            labels = {**dict(key[0]), **dict(key[1])}
            if key in self.combinations:
                known = self.combinations[key]
                known.last_call = call
                return known, self._complete(key, known, call, keep_calls, off)
        codes = bytes([UNKNOWN]) * len(_NAMES) + bytes([ABSENT]) * (CATEGORICAL_COLUMNS - len(_NAMES))
        known = Combination(0, call, codes, labels)
        new = self._complete(key, known, call, keep_calls, off)
        known.number = self._number(call, keep_calls)
        if known.number or len(self.combinations) < MAX_COMBINATIONS:
            self.combinations[key] = known
        return known, new

    def _complete(
        self, key: Key, known: Combination, call: int, keep_calls: int, off: frozenset[str]
    ) -> list[tuple[int, int]]:
        """Look the codes up that are UNKNOWN; the (column, category) pairs that are new with them."""
        new: list[tuple[int, int]] = []
        codes = bytearray(known.codes)
        for column, name in enumerate(_NAMES):
            if codes[column] != UNKNOWN:
                continue
            codes[column] = ABSENT
            value = "+".join(sorted(set(key[2]))) if column == _TOOL_NAMES else known.labels.get(name)
            if not value or name in off or name in self.wild:
                continue
            codes[column], first = self.code(column, value[:128], call, keep_calls)
            if first:
                new.append((column, codes[column]))
        known.codes = bytes(codes)
        return new

    def move(self, columns: Sequence[int]) -> None:
        """The codes come from a state with other columns: `columns[k]` is what its column k is here, -1 for nothing."""
        moves = [(old, new) for old, new in enumerate(columns) if new >= 0]
        categories: list[dict[str, int]] = [{} for _ in range(CATEGORICAL_COLUMNS)]
        for old, new in moves:
            categories[new] = self.categories[old]
        self.categories = categories
        for known in self.combinations.values():
            codes = bytearray([UNKNOWN] * len(_NAMES) + [ABSENT] * (CATEGORICAL_COLUMNS - len(_NAMES)))
            for old, new in moves:
                codes[new] = known.codes[old]
            known.codes = bytes(codes)

    def _number(self, call: int, keep_calls: int) -> int:
        """A free number for a combination; 0 ("not listed") where all are in use."""
        if len(self.combinations) >= MAX_COMBINATIONS:
            old = [key for key, known in self.combinations.items() if known.last_call < call - keep_calls]
            for key in old:
                del self.combinations[key]
            if len(self.combinations) >= MAX_COMBINATIONS:
                return 0
        used = {known.number for known in self.combinations.values()}
        return next(n for n in range(1, MAX_COMBINATIONS + 2) if n not in used)

    def _count(self, labels: dict[str, str]) -> bool:
        """Count values in the window; true if a label turned out to be wild."""
        found = False
        for name, value in labels.items():
            if name not in self.window and len(self.window) >= MAX_COUNTED:
                continue
            values = self.window.setdefault(name, {})
            if len(values) <= WILD_VALUES:
                values[value] = None
            if len(values) > WILD_VALUES and len(self.wild) < MAX_COUNTED:
                self.wild[name] = None
                del self.window[name]
                found = True
        return found

    def _tamed(self, key: Key) -> Key:
        categories, labels = ([(n, v) for n, v in part if n not in self.wild] for part in key[:2])
        return tuple(categories), tuple(labels), key[2]
