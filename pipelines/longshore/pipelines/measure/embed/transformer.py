"""Any model of sentence-transformers as the embedder: on a thread of its own, in batches, with a bounded wait."""

import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from longshore.schemas import MAX_DIMENSIONS

from .base import EmbedderError, EmbedderSettings, Vectors

#: requests that wait for the model, one for every thread that measures; more are told that it is busy
MAX_WAITING = 32
#: texts that go to the model at once: two for each call of a batch of 256
MAX_TEXTS = 512
#: how long a batch waits for the texts of other threads
GATHER_S = 0.005
MODEL_BATCH = 32


class Model(Protocol):
    """What is asked of a model of sentence-transformers."""

    def encode(
        self, inputs: list[str], *, batch_size: int, show_progress_bar: bool, normalize_embeddings: bool
    ) -> Vectors:
        """Vectors (n, d) of n texts."""


class _Request:
    """Texts that a thread waits for."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.done = threading.Event()
        self.given_up = False
        self.vectors: Vectors | None = None
        self.error = ""


class TransformerEmbedder:
    """Embeds on one thread, whatever threads ask; keeps the vectors of recent texts by their hash.

    While the model is silent for longer than `timeout_s`, requests fail at once, so that a stalled model costs one wait
    and not one for every batch. Vectors of one text may differ in their last bits with the texts that come with it.
    """

    waits = True

    def __init__(self, model: Model, fingerprint: str, *, cache_texts: int, timeout_s: float) -> None:
        self.fingerprint = fingerprint
        self._model, self._cache_texts, self._timeout_s = model, cache_texts, timeout_s
        self._cache: OrderedDict[bytes, npt.NDArray[np.float32]] = OrderedDict()
        self._lock = threading.Lock()
        self._waiting: queue.Queue[_Request] = queue.Queue(MAX_WAITING)
        #: when the model was last given work that it has not finished; 0 while it rests
        self._busy_since = 0.0
        threading.Thread(target=self._run, name="longshore-embedder", daemon=True).start()

    def encode(self, texts: list[str]) -> Vectors:
        """Vectors of unit length, (n, d). Raises EmbedderError where the model fails, is late or has too much to do."""
        keys = [blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest() for text in texts]
        with self._lock:
            known = {key: self._cache[key] for key in keys if key in self._cache}
            for key in known:
                self._cache.move_to_end(key)
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new:
            known.update(zip(new, self._ask(list(new.values())), strict=True))
            with self._lock:
                for key in new:
                    self._cache[key] = known[key]
                while len(self._cache) > self._cache_texts:
                    self._cache.popitem(last=False)
        return np.stack([known[key] for key in keys])

    def _ask(self, texts: list[str]) -> Vectors:
        """Have the thread embed texts."""
        busy_since = self._busy_since
        if busy_since and time.monotonic() - busy_since > self._timeout_s:
            raise EmbedderError(f"the model has been silent for more than {self._timeout_s:g} s")
        request = _Request(texts)
        try:
            self._waiting.put_nowait(request)
        except queue.Full:
            raise EmbedderError(f"{MAX_WAITING} requests wait for the model") from None
        if not request.done.wait(self._timeout_s):
            request.given_up = True
            raise EmbedderError(f"no vectors after {self._timeout_s:g} s")
        if request.vectors is None:
            raise EmbedderError(request.error)
        return request.vectors

    def _run(self) -> None:
        while True:
            requests = list(self._gathered())
            self._busy_since = time.monotonic()
            self._answer([request for request in requests if not request.given_up])
            self._busy_since = 0.0

    def _gathered(self) -> Iterator[_Request]:
        """The next request, and those that come soon after it."""
        request = self._waiting.get()
        texts = len(request.texts)
        yield request
        deadline = time.monotonic() + GATHER_S
        while texts < MAX_TEXTS:
            try:
                request = self._waiting.get(timeout=max(deadline - time.monotonic(), 0.0))
            except queue.Empty:
                return
            texts += len(request.texts)
            yield request

    def _answer(self, requests: list[_Request]) -> None:
        texts = [text for request in requests for text in request.texts]
        error, vectors = "", None
        try:
            if texts:
                vectors = self._embedded(texts)
        except EmbedderError as refused:
            error = str(refused)
        except Exception as raised:
            # anything may come out of a model; its message may quote the text
            error = f"the model raised {type(raised).__name__}"
        start = 0
        for request in requests:
            end = start + len(request.texts)
            request.vectors = None if vectors is None else vectors[start:end]
            request.error = error
            request.done.set()
            start = end

    def _embedded(self, texts: list[str]) -> Vectors:
        found = self._model.encode(texts, batch_size=MODEL_BATCH, show_progress_bar=False, normalize_embeddings=True)
        vectors = np.asarray(found, np.float32)
        if vectors.ndim != 2 or len(vectors) != len(texts) or not 1 <= vectors.shape[1] <= MAX_DIMENSIONS:
            raise EmbedderError(f"the model gave an array of shape {vectors.shape} for {len(texts)} texts")
        if not np.isfinite(vectors).all():
            raise EmbedderError("the model gave values that are no numbers")
        return vectors


def load(settings: EmbedderSettings) -> TransformerEmbedder:
    """Load the model that the settings name and embed one word with it. Raises EmbedderError."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise EmbedderError("embedder.backend: this needs `pip install 'longshore[embeddings]'`") from None
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
