"""For another Python: embeds texts with sentence-transformers and model2vec, and says how fast. Knows no leeboard."""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from model2vec import StaticModel
from model2vec import __version__ as model2vec_version
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers import __version__ as st_version
from tokenizers import Tokenizer

torch.set_num_threads(1)


def rate(encode, texts):
    """Texts a CPU second, best of three."""
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        encode(texts)
        best = min(best, time.process_time() - started)
    return len(texts) / best


def main(folder):
    """Read `task.json`, write `answer.json`."""
    task = json.loads((folder / "task.json").read_text())
    minilm = SentenceTransformer(task["model"], device="cpu")
    answer = {}
    if "texts" in task:
        static = SentenceTransformer(str(folder / "static"), device="cpu")
        weights = load_file(folder / "static" / "model.safetensors")["embedding.weight"]
        m2v = StaticModel(weights, Tokenizer.from_file(str(folder / "static" / "tokenizer.json")), normalize=True)
        rivals = {
            "the table, model2vec": (lambda texts: m2v.encode(texts, use_multiprocessing=False), None),
            "the table, sentence-transformers": (lambda texts: static.encode(texts, show_progress_bar=False), None),
            "all-MiniLM-L6-v2, sentence-transformers (cut at 256 tokens)": (
                lambda texts: minilm.encode(texts, show_progress_bar=False),
                task["slow"],
            ),
        }
        answer["rates"] = {
            name: {length: rate(encode, texts[:most]) for length, texts in task["texts"].items()}
            for name, (encode, most) in rivals.items()
        }
        answer["versions"] = (
            f"sentence-transformers {st_version}, model2vec {model2vec_version}, torch {torch.__version__}"
        )
        sample = [text for texts in task["texts"].values() for text in texts[:100]]
        answer["vectors"] = static.encode(sample, show_progress_bar=False, normalize_embeddings=True).tolist()
    else:
        answer["vectors"] = {
            name: np.round(minilm.encode(texts, show_progress_bar=False), 5).tolist()
            for name, texts in task["corpora"].items()
        }
    (folder / "answer.json").write_text(json.dumps(answer))


main(Path(sys.argv[1]))
