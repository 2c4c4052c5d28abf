"""All streams by name, made when they are asked for."""

from collections.abc import Callable
from functools import partial

from .aider import aider
from .alpaca import PAIRS, alpaca
from .azure import azure_code, azure_conv, azure_mix
from .llmdrift import FAMILIES, TASKS, llmdrift
from .llmperf import PROVIDERS, SWITCHES, provider, switch
from .servegen import CLIENTS, DRAWS, servegen
from .stream import Stream


def _catalog() -> dict[str, Callable[[], Stream]]:
    makers: dict[str, Callable[[], Stream]] = {
        "azure.code": azure_code,
        "azure.conv": azure_conv,
        "azure.mix": azure_mix,
    }
    for blind in (False, True):
        end = ".blind" if blind else ""
        makers[f"aider{end}"] = partial(aider, blind=blind)
        for before, after in SWITCHES:
            makers[f"llmperf.{before}-{after}{end}"] = partial(switch, before, after, blind=blind)
        for task in TASKS:
            for family in FAMILIES:
                makers[f"llmdrift.{task}.{family}{end}"] = partial(llmdrift, task, family, blind=blind)
        for before, after in PAIRS:
            makers[f"alpaca.{before}>{after}{end}"] = partial(alpaca, before, after, blind=blind)
    for name in PROVIDERS:
        makers[f"llmperf.{name}"] = partial(provider, name)
    for client in CLIENTS:
        makers[f"servegen.{client[2:]}.{DRAWS}"] = partial(servegen, client)
    for (before, after), (changed, _) in PAIRS.items():
        if not changed:
            makers[f"alpaca.{before}>{after}.file_order"] = partial(alpaca, before, after, in_file_order=True)
    return makers


_MAKERS = _catalog()


def names(*, blind: bool = False) -> list[str]:
    """Names of all streams; `blind`: those that hide model or provider, in place of those that show it."""
    hidden = [name for name in _MAKERS if name.endswith(".blind")]
    twins = {name.removesuffix(".blind") for name in hidden}
    left_out = twins if blind else set(hidden)
    return sorted(name for name in _MAKERS if name not in left_out)


def load(name: str) -> Stream:
    """The stream of that name. Raises KeyError for an unknown name, FileNotFoundError where its data are absent."""
    return _MAKERS[name]()
