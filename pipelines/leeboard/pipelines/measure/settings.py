"""How calls are measured, and what is counted on the way: what others may read without loading what measures."""

from typing import Annotated, Literal

from leeboard.schemas import MAX_DIMENSIONS
from msgspec import Meta, Struct, field

#: what is counted while texts are measured, and what it means
COUNTED = {
    "texts_cut": "texts of which only the first text.max_chars characters were read",
    "vectors_refused": "vectors that came with calls and cannot be used (wrong length, no numbers, all zeros)",
    "texts_not_embedded": "texts without a vector because the embedder failed, was late or found nothing in them",
}


class EmbedderError(Exception):
    """The embedder cannot be made, or did not answer; the message quotes no text."""


class EmbedderSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[embedder]`: vectors of texts."""

    #: `static` (the table that comes with leeboard), `sentence-transformers` (any model), or `none`
    backend: Literal["static", "sentence-transformers", "none"] = "static"
    #: for `sentence-transformers`: name or folder of the model
    model: str | None = None
    #: for `sentence-transformers`: `cpu`, `cuda`, `mps` ..., as PyTorch names it
    device: str = "cpu"
    #: which texts get a vector
    texts: Literal["both", "input", "output"] = "both"
    #: length of the vectors that come with calls, others are refused; None: any up to MAX_DIMENSIONS
    dimensions: Annotated[int, Meta(ge=1, le=MAX_DIMENSIONS)] | None = None
    #: for `sentence-transformers`: texts whose vectors are kept, by their hash: 10,000 x 384 float32 = 15 MB
    cache_texts: Annotated[int, Meta(ge=0, le=1_000_000)] = 10_000
    #: for `sentence-transformers`: seconds that up to 32 calls wait for their vectors; then they go on without: a model
    #: of six layers takes 4 s for 64 long texts on one core, one of 24 layers some 30 s
    timeout_s: Annotated[float, Meta(gt=0, le=120)] = 60.0


class TextSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`[text]`: how texts are read."""

    #: characters that are read and embedded of a text, from its beginning
    max_chars: Annotated[int, Meta(ge=100, le=1_000_000)] = 8000


class MeasureSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How calls are measured."""

    #: the tenant is part of the scope key; otherwise it is a label
    tenant_in_scope: bool = False
    #: deployment key of the hashes of inputs, sessions and users; without one anybody can recompute them
    key: str = ""
    #: price calls that bring no cost of their own
    price: bool = True
    text: TextSettings = field(default_factory=TextSettings)
    #: texts with fewer tokens get neither style counts nor a vector
    min_tokens: int = 0
    embedder: EmbedderSettings = field(default_factory=EmbedderSettings)
