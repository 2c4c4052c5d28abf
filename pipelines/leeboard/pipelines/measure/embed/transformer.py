"""Any model of sentence-transformers as the embedder: on a thread of its own, in batches, with a bounded wait."""

import logging
import queue
import threading
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from leeboard.schemas import MAX_DIMENSIONS

from ..settings import EmbedderError, EmbedderSettings
from .base import Vectors

log = logging.getLogger(__name__)

#: texts that go through the model together
MODEL_BATCH = 32


class Model(Protocol):
    """What is asked of a model of sentence-transformers."""

    def encode(
        self, inputs: list[str], *, batch_size: int, show_progress_bar: bool, normalize_embeddings: bool
    ) -> Vectors:
        """Vectors (n, d) of n texts."""


class _Request:
    """Texts on their way through the model, and what came of them."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.done = threading.Event()
        self.vectors: Vectors | None = None
        self.error = ""


class TransformerEmbedder:
    """Embeds on a thread of its own and keeps the vectors of recent texts by their hash. Not for two threads at once.

    While the model is still at texts that were given up after `timeout_s`, others fail at once: a stalled model costs
    one wait, not one for every batch, and nothing queues up behind it. Vectors of one text may differ in their last
    bits with the texts that come with it. `wait`: for an event, at most so many seconds; did it come?
    """

    def __init__(
        self,
        model: Model,
        fingerprint: str,
        *,
        cache_texts: int,
        timeout_s: float,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self.fingerprint = fingerprint
        self._model, self._cache_texts, self._timeout_s = model, cache_texts, timeout_s
        self._wait = wait
        self._cache: OrderedDict[bytes, npt.NDArray[np.float32]] = OrderedDict()
        self._requests: queue.SimpleQueue[_Request] = queue.SimpleQueue()
        self._last: _Request | None = None
        self._fails = False
        threading.Thread(target=self._run, name="leeboard-embedder", daemon=True).start()

    def encode(self, texts: list[str]) -> Vectors:
        """Vectors of unit length, (n, d). Raises EmbedderError where the model fails or is late."""
        keys = [blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts]
        known = {key: self._cache[key] for key in keys if key in self._cache}
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new:
            known.update(zip(new, self._ask(list(new.values())), strict=True))
        for key, vector in known.items():
            self._cache[key] = vector
            self._cache.move_to_end(key)
        while len(self._cache) > self._cache_texts:
            self._cache.popitem(last=False)
        return np.stack([known[key] for key in keys])

    def _ask(self, texts: list[str]) -> Vectors:
        """Have the thread embed texts; what goes wrong is logged when it begins, and when it ends."""
        request = _Request(texts)
        if self._last is not None and not self._last.done.is_set():
            request.error = "the model is still at texts that were given up"
        else:
            self._last = request
            self._requests.put(request)
            if not self._wait(request.done, self._timeout_s):
                request.error = f"no vectors after {self._timeout_s:g} s"
        vectors = request.vectors
        if vectors is None or not request.done.is_set():
            if not self._fails:
                log.warning("texts are not embedded: %s", request.error)
            self._fails = True
            raise EmbedderError(request.error)
        if self._fails:
            log.info("texts are embedded again")
        self._fails = False
        return vectors

    def _run(self) -> None:
        while True:
            request = self._requests.get()
            try:
                request.vectors = self._embedded(request.texts)
            except EmbedderError as raised:
                request.error = str(raised)
            except Exception as raised:
                # anything may come out of a model; its message may quote the text
                request.error = f"the model raised {type(raised).__name__}"
            request.done.set()

    def _embedded(self, texts: list[str]) -> Vectors:
        found = self._model.encode(texts, batch_size=MODEL_BATCH, show_progress_bar=False, normalize_embeddings=True)
        vectors = np.asarray(found, np.float32)
        if vectors.ndim != 2 or len(vectors) != len(texts) or not 1 <= vectors.shape[1] <= MAX_DIMENSIONS:
            raise EmbedderError(f"the model gave an array of shape {vectors.shape} for {len(texts)} texts")
        if not np.isfinite(vectors).all():
            raise EmbedderError("the model gave values that are no numbers")
        return vectors


def load_transformer(settings: EmbedderSettings) -> TransformerEmbedder:
    """Load the model that the settings name and embed one word with it. Raises EmbedderError."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise EmbedderError("embedder.backend: this needs `pip install 'leeboard[embeddings]'`") from None
    try:
        model = SentenceTransformer(settings.model, device=settings.device)
        fingerprint = f"st-{weights_hash(model)}"
        model.encode(["a"], show_progress_bar=False)
    except Exception as error:
        # what a hub, a folder or a driver may raise has no common base
        reason = str(error).strip().partition("\n")[0][:200]
        raise EmbedderError(f"embedder.model: {settings.model}: {type(error).__name__}: {reason}") from None
    return TransformerEmbedder(model, fingerprint, cache_texts=settings.cache_texts, timeout_s=settings.timeout_s)


def weights_hash(model: Any) -> str:
    """16 hex digits over names and bytes of a model's weights, and over how many tokens it reads."""
    import torch

    digest = blake2b(f"{model.max_seq_length}".encode(), digest_size=8)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
