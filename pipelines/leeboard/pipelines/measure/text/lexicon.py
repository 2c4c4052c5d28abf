"""Words and phrases that the scan knows beyond counting them: languages, first person, hedges, refusals."""

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from leeboard.schemas import STYLE_MARKS, STYLE_WORDS

from .hashing import chained, hashed, table_of

#: languages that are told by their commonest words, in the order of their bits
LANGUAGES = ("en", "es", "de", "fr", "pt", "it", "nl", "pl", "tr", "id")
_STOP_WORDS = {
    "en": "the of and to in is that it for as was with be by on not he his this are or at from have but an they you "
    "were which we their one has there been if more when will would who so no can i my what how do your a me where why "
    "does did am us please",
    "es": "el la de que y en un una los las del se por con para como su es al lo más pero sus le ya o fue este ha cuál "
    "qué quién cuándo dónde cuántos cuántas cuáles mi no está puede cómo muy hay son",
    "de": "der die das und in zu den von mit sich des auf für ist im dem nicht ein eine als auch es an werden aus er "
    "hat dass sie nach wird bei einer um ich wie was sind kann mir mein",
    "fr": "le la les de des et en un une du que est pour qui dans par plus pas au sur ne se ce il sont avec je vous "
    "quel quelle comment mon ma être cette aux ou",
    "pt": "o a os as de do da dos das e em um uma que para com não se por mais como foi ao ele seu sua ou quando muito "
    "já eu também pelo pela até isso ela é você qual são está meu",
    "it": "il lo la i gli le di del della dei e in un una che per con non si da è sono come più al ma nel alla anche "
    "questo ha mi cosa quale mio hanno delle degli",
    "nl": "de het een en van ik te dat die in je niet zijn is op met als voor er maar om aan ook dan hoe wat kan mijn "
    "bij naar heb deze wordt of",
    "pl": "i w na z się nie do to że jest jak za po o od co dla czy ale tym był jego są oraz przez przy może mam mi",
    "tr": "ve bir bu da de için ile ne çok daha gibi olarak kadar ama olan var mı mi nasıl nedir ben benim en sonra "
    "hangi",
    "id": "yang dan di ini itu dengan untuk tidak dari dalam akan pada saya ke karena ada adalah bisa apa juga atau "
    "anda bagaimana oleh sebagai kami mereka",
}
#: bits of the attributes, above those of the languages
FIRST_PERSON, HEDGE, HELP, SORRY, BUT, ENDS_PHRASE, REFUSES, CANNOT = (1 << len(LANGUAGES) + k for k in range(8))
_ATTRIBUTES = {
    FIRST_PERSON: "i my me i'm i've i'll i'd mine myself yo mi je mon moi ich mein mir eu meu io mio ik mijn",
    HEDGE: "may might could perhaps possibly likely generally typically usually often sometimes seems seem appears "
    "probably maybe unclear uncertain depends unfortunately sorry apologize apologies however "
    "quizás vielleicht talvez forse misschien",
    # what a request asks for: after "I cannot" it makes a refusal
    HELP: "assist help provide comply fulfill generate create answer engage discuss support share offer produce write "
    "give complete participate recommend disclose access browse predict "
    "ayudar ayudarte proporcionar responder ofrecer cumplir aider fournir répondre ajudar fornecer aiutare aiutarti "
    "fornire rispondere",
    SORRY: "sorry apologize siento désolé désolée leid desculpe dispiace spijt",
    BUT: "but pero mais aber mas ma maar",
}
_PHRASES = {
    REFUSES: (
        *("as an ai", "as a language model", "modelo de lenguaje", "en tant qu ia", "als ki"),
        *("unable to assist", "unable to help", "unable to provide", "unable to answer"),
        *("can't do that", "cannot do that", "must decline", "have to decline", "not comfortable"),
        *("not able to assist", "not able to help", "not able to provide", "not able to answer"),
        *("nicht helfen", "nicht weiterhelfen", "nicht beantworten", "nicht bereitstellen", "niet helpen"),
    ),
    CANNOT: (
        *("i cannot", "i can't", "i won't", "i'm unable", "i am unable", "i'm not able", "i am not able", "i will not"),
        *("we cannot", "we can't", "we're unable", "we are unable"),
        *("no puedo", "no podemos", "ne peux pas", "ne puis pas", "não posso", "non posso"),
    ),
}
#: all of it, for the version of the way texts are counted
LEXICON = (LANGUAGES, _STOP_WORDS, _ATTRIBUTES, _PHRASES)
#: words of the longest phrase
LONGEST_PHRASE = 4
#: a meaning: the word's place in STYLE or NO_ENTRY, and above it its attributes
NO_ENTRY = ENTRY_BITS = 0xFFFF
ATTRIBUTE_SHIFT = 16


class Words(NamedTuple):
    """Words and phrases by their hashes, a table with open addressing (see `hashing`)."""

    #: (size,): hashes, 0 where free
    keys: npt.NDArray[np.uint64]
    #: (size,): meanings
    meanings: npt.NDArray[np.int64]


@cache
def words() -> Words:
    """The table, made at first use."""
    entries = {word: len(STYLE_MARKS) + k for k, word in enumerate(STYLE_WORDS)}
    for k, mark in enumerate(STYLE_MARKS):
        if not any(character.isalnum() for character in mark):
            entries |= {sign: k for sign in mark.split() if len(sign) == 1}
    attributes: dict[str, int] = dict.fromkeys(entries, 0)
    listed = [(1 << bit, _STOP_WORDS[language]) for bit, language in enumerate(LANGUAGES)]
    listed += _ATTRIBUTES.items()
    listed += [(ENDS_PHRASE, " ".join(phrase.split()[-1] for phrases in _PHRASES.values() for phrase in phrases))]
    for bit, text in listed:
        for word in text.split():
            attributes[word] = attributes.get(word, 0) | bit
    found = [(hashed(w), entries.get(w, NO_ENTRY) | bits << ATTRIBUTE_SHIFT) for w, bits in attributes.items()]
    for kind, phrases in _PHRASES.items():
        for phrase in phrases:
            # the scan goes back from the last word
            key = chained([hashed(word) for word in reversed(phrase.split())])
            found.append((key, NO_ENTRY | kind << ATTRIBUTE_SHIFT))
    keys, places = table_of([key for key, _ in found])
    meanings = np.full(len(keys), NO_ENTRY, np.int64)
    meanings[places] = [meaning for _, meaning in found]
    return Words(keys, meanings)
