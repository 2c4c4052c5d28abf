"""What is measured of a text of a call: readable features, counts over a fixed vocabulary, a vector; no word of it."""

from typing import Annotated, NamedTuple

from msgspec import Meta, Struct


class Feature(NamedTuple):
    """A readable feature of a text: its name, its unit, and its meaning for a person."""

    name: str
    unit: str
    meaning: str


#: what `TextMeasures.features` holds, in this order; features are only ever added at the end
FEATURES = (
    Feature("length", "log(1 + characters)", "how long the text is"),
    Feature("word_length", "letters", "mean length of a word"),
    Feature("sentence_length", "log words", "words to the sentence; the number of a list item ends one too"),
    Feature("unique_words", "share", "different words among the first 100"),
    Feature("uppercase", "share of letters", "capital letters"),
    Feature("digits", "share of characters", "digits"),
    Feature("punctuation", "share of characters", "punctuation marks other than Markdown"),
    Feature("commas", "per 1,000 characters", "commas"),
    Feature("markdown", "per 1,000 characters", "Markdown: headings, list items, bold, code, tables, quotes, links"),
    Feature("list_items", "per 1,000 characters", "lines that are items of a list"),
    Feature("line_breaks", "per 1,000 characters", "line breaks"),
    Feature("questions", "per 1,000 characters", "question marks"),
    Feature("hedges", "share of words", "hedging words (may, perhaps, however); a refusal counts as five of them"),
    Feature("first_person", "share of words", "the writer speaking of itself (I, my, me)"),
    Feature("english", "share of words", "common English words (the, of, and)"),
    Feature("other_language", "share of words", "common words of the likeliest other language"),
    Feature("non_ascii", "share of characters", "accents, other scripts, emoji, typographic quotes and dashes"),
    Feature("ends_open", "yes or no", "no full stop, question or exclamation mark at the end"),
)
#: the style vocabulary, first part: marks, kinds of numbers, shapes and scripts of words
STYLE_MARKS = (
    # Markdown at the start of a line
    *("# heading", "## heading", "### heading", "#### heading", "- item", "* item", "1. item", "1) item", "> quote"),
    *("``` fence", "| row", "|---| rule", "--- rule", "indented line"),
    # Markdown inside a line
    *("**", "*", "__", "_", "`", "](", "**:", ":**"),
    # line breaks and spaces
    *("line break", "blank line", "two blank lines", "colon at line end", "space at line end", "double space", "tab"),
    # contractions, and elisions of French and Italian
    *("'s", "'t", "'re", "'ll", "'ve", "'d", "'m", "l' d' qu'"),
    # numbers
    *("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"),
    *("two digits", "three digits", "four digits", "more digits", "decimal point"),
    # other signs: one entry for all that are named together
    *(".", ",", ";", ":", "!", "?", "'", '"', "( )", "[ ]", "{ }", "< >", "/", "\\", "|", "-", "+", "=", "%", "&", "@"),
    *("#", "$", "^", "~", "...", "…", "–", "—", "“ ”", "‘ ’", "« »", "¿ ¡", "•", "。 、", "→", "€ £ ¥", "emoji"),
    *("other sign", ", and"),
    # shapes and scripts of words
    *("Capitalised word", "CAPITAL word", "word of 12 letters"),
    *("other script", "greek", "cyrillic", "hebrew", "arabic", "devanagari", "thai", "hangul", "kana", "han"),
)
_LISTED = (
    "the of and to in is that it for as was with be by on not this are or at from have but an they you which we their "
    "one has there if more when will would who so no can i a my me your our its these what how some any all also into "
    "than then such other most may might could should do don't about up over only just like however here help please "
    "sure sorry important example use using make need each first while because through well let many both overall "
    "additionally ensure including time",
    "el la de que y en un una los las del por con para se es",
    "le les des et est pour qui dans pas vous je",
    "der die das und zu ist nicht mit ich ein",
    "o os um uma não do da",
    "il di che è non",
    "het een van je",
)
#: its second part: function words and the commonest others of English, Spanish, French, German, Portuguese, Italian and
#: Dutch; written by hand, and a word that two languages share stands once
STYLE_WORDS = tuple(dict.fromkeys(" ".join(_LISTED).split()))
#: what `TextMeasures.style` counts, in this order: 256 entries, and never anything else of a text
STYLE = (*STYLE_MARKS, *STYLE_WORDS)
#: longest vector of a text
MAX_DIMENSIONS = 4096


class TextMeasures(Struct, kw_only=True, omit_defaults=True, frozen=True):
    """What was measured of one text of a call."""

    #: little-endian float32, one for every entry of FEATURES; None where the call brought a vector without a text
    features: bytes | None = None
    #: words, numbers, signs and line breaks that were counted: what the style counts are shares of
    tokens: Annotated[int, Meta(ge=0)] = 0
    #: uint8, one for every entry of STYLE, 255 for that and more; None where the text is too short to be kept so
    style: bytes | None = None
    #: int8; times `scale` it is the text's vector
    vector: bytes | None = None
    scale: float = 0.0
    #: what made the vector: vectors of different embedders cannot be compared
    embedder: str | None = None
