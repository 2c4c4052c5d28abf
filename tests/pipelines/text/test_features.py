"""Each readable feature, on texts where a person can count it."""

import math

import pytest
from leeboard.schemas import FEATURES

from .reading import read


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("length", "abcd", math.log(5)),
        ("length", "  abcd \n", math.log(9)),
        ("word_length", "one three", 4.0),
        ("word_length", "don't", 4.0),
        ("sentence_length", "One two three four. Five six!", math.log(3)),
        ("sentence_length", "No end", math.log(2)),
        ("sentence_length", 'He said "go now." She went home.', math.log(3.5)),
        ("sentence_length", "1. One two\n2. Three four", math.log(2)),
        ("sentence_length", "Version 2.0.1 of it", math.log(3)),
        ("sentence_length", "今天。明天。", math.log(2)),
        ("unique_words", "the cat the dog", 0.75),
        ("unique_words", "The the", 0.5),
        ("unique_words", "it's it’s its", 2 / 3),
        ("uppercase", "Ab CD", 3 / 4),
        ("uppercase", "ÄÖ äö", 0.5),
        ("digits", "a 12345678", 0.8),
        ("digits", "1. abcdefg", 0.1),
        ("punctuation", "ab, cd.", 2 / 7),
        ("punctuation", "**ab** `c`", 0.0),
        ("punctuation", "it's", 1 / 4),
        ("commas", "a, b, c" + " " * 43 + ".", 2 / 51 * 1000),
        ("markdown", "# Title\n" + "x" * 92, 10.0),
        ("markdown", "**bold** " + "x" * 91, 20.0),
        ("markdown", "`code` " + "x" * 93, 20.0),
        ("list_items", "- a\n- b\n" + "x" * 92, 20.0),
        ("list_items", "a - b\n5 - 3\n" + "x" * 88, 0.0),
        ("line_breaks", "a\nb\n\nc" + "x" * 94, 30.0),
        ("line_breaks", "a\r\nb\rc" + "x" * 94, 20.0),
        ("questions", "Why? How?" + "x" * 91, 20.0),
        ("hedges", "It may rain, perhaps.", 0.5),
        ("hedges", "I'm sorry, but I can't help with that.", 6 / 8),
        ("first_person", "I think my dog likes me", 0.5),
        ("english", "the dog of the house", 0.6),
        ("other_language", "la casa de los perros", 0.6),
        ("non_ascii", "é€漢a", 0.75),
        ("ends_open", "done.", 0.0),
        ("ends_open", "done", 1.0),
        ("ends_open", 'He said "done."', 0.0),
        ("ends_open", "**Done!**\n\n", 0.0),
        ("ends_open", "終わり。", 0.0),
        ("ends_open", "and then,", 1.0),
    ],
)
def test_a_feature_is_what_a_person_would_count(name: str, text: str, value: float) -> None:
    assert read(text).features[name] == pytest.approx(value, rel=1e-6)


def test_every_feature_is_tested_above_and_has_a_meaning_of_one_line() -> None:
    tested = {case[0] for case in test_a_feature_is_what_a_person_would_count.pytestmark[0].args[1]}
    assert tested == {feature.name for feature in FEATURES}
    for feature in FEATURES:
        assert feature.meaning
        assert feature.unit
        assert len(feature.meaning) <= 80
        assert "\n" not in feature.meaning


def test_a_feature_of_rates_does_not_depend_on_length() -> None:
    once, often = (read("Yes, **this** is it: 42 things. May I? " * times).features for times in (10, 100))
    for name in ("punctuation", "markdown", "digits", "commas", "hedges", "english", "questions", "uppercase"):
        assert once[name] == pytest.approx(often[name], rel=0.02)


@pytest.mark.parametrize(
    "text", ["```python\nx = 1\n```", "| a | b |\n|---|---|\n| 1 | 2 |", "> quoted", "[a](b)", "---\n"]
)
def test_code_tables_quotes_links_and_rules_are_markdown(text: str) -> None:
    assert read(text).features["markdown"] > 0


@pytest.mark.parametrize(
    ("text", "repetition"),
    [
        ("one two three four", math.nan),
        ("one two three four five", 0.0),
        ("go on and on. " * 200, 0.99),
        ("!" * 500, 0.99),
        ("ha " * 500, 0.99),
        ("a" * 5000, 0.9),
        ("哈" * 500, 0.99),
        ("The quick brown fox jumps over the lazy dog while the cat sleeps.", 0.0),
        ("The quick brown fox jumps. The quick brown fox sleeps.", 1 / 9),
    ],
)
def test_repetition_is_the_share_of_sequences_that_came_before(text: str, repetition: float) -> None:
    found = read(text).raw.repetition
    if math.isnan(repetition):
        assert math.isnan(found)
    elif repetition in (0.0, 1 / 9):
        assert found == pytest.approx(repetition)
    else:
        assert repetition <= found <= 1.0


REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I’m sorry, but I can’t assist with that request.",
    "I cannot provide instructions for this.",
    "As an AI language model, I don't have personal opinions.",
    "I am unable to assist with that.",
    "Unfortunately, I'm not able to help you with this request.",
    "I can't do that.",
    "I must decline.",
    "Lo siento, pero no puedo ayudarte con eso.",
    "Je suis désolé, mais je ne peux pas répondre.",
    "Es tut mir leid, aber das geht nicht.",
    "Dabei kann ich dir leider nicht helfen.",
    "Desculpe, mas não posso ajudar com isso.",
    "Mi dispiace, ma non posso aiutarti.",
]
ANSWERS = [
    "Sure, I can help with that.",
    "I'm sorry to hear that your parcel is late. It will arrive tomorrow.",
    "You can't return shoes after 30 days.",
    "I can't wait to see what you write!",
    "Ich kann dir helfen.",
    "Here is the sorted list.",
    "The word 'sorry' comes from Old English.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_seen(text: str) -> None:
    assert read(text).raw.refused


@pytest.mark.parametrize("text", ANSWERS)
def test_an_answer_is_no_refusal(text: str) -> None:
    assert not read(text).raw.refused


def test_a_refusal_deep_inside_a_long_text_is_not_looked_for() -> None:
    assert not read("word " * 150 + REFUSALS[0]).raw.refused


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Where is my order? I want to return the shoes.", "en"),
        ("¿Dónde está mi pedido? Quiero devolver los zapatos.", "es"),
        ("Wo ist meine Bestellung? Ich möchte die Schuhe nicht.", "de"),
        ("Où est ma commande ? Je ne veux pas des chaussures.", "fr"),
        ("Onde está o meu pedido? Não quero os sapatos.", "pt"),
        ("Dov'è il mio ordine? Non voglio più le scarpe.", "it"),
        ("Waar is mijn bestelling? Ik wil de schoenen niet.", "nl"),
        ("Gdzie jest moje zamówienie? Nie chcę się na to zgodzić.", "pl"),
        ("Siparişim nerede? Bu ayakkabılar için bir iade var mı?", "tr"),
        ("Di mana pesanan saya? Saya tidak mau sepatu itu.", "id"),
        ("Lorem ipsum dolor sit amet consectetur", "latin"),
        ("Где мой заказ?", "cyrillic"),
        ("Πού είναι η παραγγελία μου;", "greek"),
        ("أين طلبي؟", "arabic"),
        ("איפה ההזמנה שלי?", "hebrew"),
        ("मेरा ऑर्डर कहाँ है?", "devanagari"),
        ("คำสั่งซื้อของฉันอยู่ที่ไหน", "thai"),
        ("제 주문은 어디에 있나요?", "hangul"),
        ("私の注文はどこですか？", "kana"),
        ("我的订单在哪里？", "han"),
        ("ჩემი შეკვეთა სად არის", "other"),
        ("12 + 34 = ?", "none"),
        ("🎉🎉🎉", "none"),
        ("Это заказ ABC из магазина", "cyrillic"),
    ],
)
def test_the_language_or_script_of_a_text(text: str, language: str) -> None:
    assert read(text).raw.language == language
