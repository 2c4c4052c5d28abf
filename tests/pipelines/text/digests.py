"""As a program: what reader and embedder make of some texts, a line for each; run with and without compiling."""

import numpy as np
from leeboard.pipelines.measure.embed.static import StaticEmbedder
from leeboard.pipelines.measure.text import TextReader
from leeboard.pipelines.measure.vectors import cosine, pack

TEXTS = (
    "Where is my order? I'd like to return the **blue** shoes, please.",
    "## Steps\n\n1. Open the `box`:\n2. It's done - 3.5 times!\n\n| a | b |\n|---|---|\n> “text” — l'ami, and 10\n",
    "I’m sorry, but I can't help with that. Ça va? ¿Qué?",
    "我的订单 123 在哪里？ 私の のです 제 주문은 \ud800 🎉 \U00020000",
    "go on and on. " * 6 + "\n\n\n```py\nx = [1, 2]\n```\n",
    "h" + "\u0301" * 9 + " unbelievableness 2026 A.B. \t x",
)


def main() -> None:
    """Print the numbers of every text."""
    reader, embedder = TextReader(100), StaticEmbedder()
    first = embedder.encode([TEXTS[0]])[0]
    for text in TEXTS:
        (vector,) = embedder.encode([text])
        packed = np.zeros(len(vector), np.int8)
        found = reader.read(text)
        assert found is not None
        print(found.features.hex())
        print(found.style.hex(), found.tokens, found.refused, found.repetition.hex(), found.language)
        print(vector.tobytes().hex())
        print(pack(vector, packed).hex(), packed.tobytes().hex(), cosine(first, vector).hex())


if __name__ == "__main__":
    main()
