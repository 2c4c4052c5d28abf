"""How a block of calls differs from what it would have been without causes."""

from dataclasses import dataclass, field

import numpy as np

from ..arrays import BoolArray, FloatArray, IntArray
from .apps import App, Prompt, RequestKind, ServedModel
from .text import StyleName


@dataclass(slots=True)
class Effects:
    """How the world of a block of n calls differs from the base; every array has one value a call."""

    app: App
    time_ms: IntArray
    tenant: IntArray
    output: FloatArray
    latency: FloatArray
    cost: FloatArray
    prompt_cache: FloatArray
    #: index into `models`, `prompts`, `max_tokens` and `versions`
    model: IntArray
    prompt: IntArray
    limit: IntArray
    version: IntArray
    #: a new kind of request, index into `newcomers`, and the share of the calls that it takes from the others
    newcomer: IntArray
    newcomer_share: FloatArray
    #: style of the answer, index into `styles`; -1 is the style of the prompt
    style: IntArray
    forced_error: BoolArray
    tokens_lost: BoolArray
    #: input tokens of a freak call, 0 for all others
    freak: IntArray
    models: list[ServedModel]
    prompts: list[Prompt]
    max_tokens: list[int]
    versions: list[str]
    newcomers: list[RequestKind] = field(default_factory=list)
    styles: list[StyleName] = field(default_factory=list)

    @classmethod
    def none(cls, app: App, time_ms: IntArray, tenant: IntArray) -> "Effects":
        """Start from the base: nothing differs."""
        n = time_ms.size
        return cls(
            app=app,
            time_ms=time_ms,
            tenant=tenant,
            output=np.ones(n),
            latency=np.ones(n),
            cost=np.ones(n),
            prompt_cache=np.ones(n),
            model=np.zeros(n, np.int64),
            prompt=np.zeros(n, np.int64),
            limit=np.zeros(n, np.int64),
            version=np.zeros(n, np.int64),
            newcomer=np.zeros(n, np.int64),
            newcomer_share=np.zeros(n),
            style=np.full(n, -1),
            forced_error=np.zeros(n, bool),
            tokens_lost=np.zeros(n, bool),
            freak=np.zeros(n, np.int64),
            models=[app.model],
            prompts=[app.prompt],
            max_tokens=[app.max_tokens],
            versions=[app.app_version],
        )

    def restyle(self, where: BoolArray, style: StyleName) -> None:
        """Answers at `where` are written in `style`."""
        self.style[where] = len(self.styles)
        self.styles.append(style)
