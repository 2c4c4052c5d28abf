"""Write the static table as a model of sentence-transformers.

After `python -m leeboard.pipelines.measure.embed.export FOLDER` the model `SentenceTransformer(FOLDER)` gives the
vectors that leeboard gives. Needs nothing but what leeboard needs.
"""

import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np

from .table import Table, read_table
from .wordpiece import LONGEST_WORD, UNKNOWN

#: the modules of the model, by the names that sentence-transformers 3.2 and later know
MODULES = [
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.StaticEmbedding"},
    {"idx": 1, "name": "1", "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"},
]


def export(table: Table, folder: Path) -> None:
    """Write the files of the model into a folder. Raises OSError."""
    (folder / "1_Normalize").mkdir(parents=True, exist_ok=True)
    (folder / "modules.json").write_text(json.dumps(MODULES))
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"similarity_fn_name": "cosine"}))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer(table.items)), encoding="utf-8")
    weights = table.rows.astype("<f4") * table.scales[:, None]
    header = {"embedding.weight": {"dtype": "F32", "shape": weights.shape, "data_offsets": [0, weights.nbytes]}}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # the format aligns what follows to 8 bytes
    data = np.ascontiguousarray(weights, "<f4").tobytes()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


def tokenizer(items: tuple[str, ...]) -> dict[str, Any]:
    """The vocabulary as the package `tokenizers` reads it: WordPiece on lower-case text without accents."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": None,
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": UNKNOWN,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": LONGEST_WORD,
            "vocab": {item: k for k, item in enumerate(items)},
        },
    }


def write_model_folder(arguments: list[str]) -> None:
    """Write the model into the folder that is named."""
    if len(arguments) != 1:
        sys.exit("usage: python -m leeboard.pipelines.measure.embed.export FOLDER")
    export(read_table(), Path(arguments[0]))


if __name__ == "__main__":
    write_model_folder(sys.argv[1:])
