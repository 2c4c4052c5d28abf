"""Cheap plausible English: short templates filled from word lists, in several styles of writing.

Each text is a function of its 62-bit key, so texts need no generator that is shared between calls.
"""

from typing import Literal, NamedTuple

#: about four characters a token in English
CHARS_A_TOKEN = 4
#: longest texts that are written, so that files stay small; token counts are those of the full text
MAX_INPUT_CHARS = 400
MAX_OUTPUT_CHARS = 600


TopicName = Literal[
    "billing", "delivery", "account", "contracts", "code", "invoices", "receipts", "reports", "people", "shopping"
]
StyleName = Literal["plain", "markdown", "terse", "chatty"]
Form = Literal["prose", "label", "json", "code", "query"]


class Topic(NamedTuple):
    """What requests and answers of one kind talk about."""

    things: tuple[str, ...]
    acts: tuple[str, ...]
    places: tuple[str, ...]


class Style(NamedTuple):
    """How answers are written: phrases, and how often each habit shows."""

    openers: tuple[str, ...]
    opener: float
    hedge: float
    bullet: float
    bold: float
    short: float
    closer: float


def _topic(things: str, acts: str, places: str) -> Topic:
    return Topic(*(tuple(words.split(",")) for words in (things, acts, places)))


TOPICS: dict[TopicName, Topic] = {
    "billing": _topic(
        "the last invoice,my card,the refund,the yearly plan,a second charge,the discount code,the receipt",
        "pay,cancel,change,download,dispute,renew,split,confirm",
        "the billing page,my account,the checkout,the mobile app,the payment settings,the confirmation mail",
    ),
    "delivery": _topic(
        "my parcel,the return label,the second box,the delivery date,the damaged item,the pick-up point,the order",
        "track,return,redirect,collect,replace,postpone,report,reorder",
        "the tracking page,the depot,the order history,the courier's site,the shop in town,the front desk",
    ),
    "account": _topic(
        "my password,the second factor,the login mail,the team seat,the profile picture,the API key,the old address",
        "reset,remove,enable,transfer,verify,rename,restore,share",
        "the security page,the admin console,the welcome mail,the desktop client,the settings menu",
    ),
    "contracts": _topic(
        "the notice period,the liability cap,clause 14,the data processing annex,the renewal term,the service level,"
        "the termination right,the governing law",
        "interpret,limit,waive,extend,amend,apply,terminate,assign",
        "the master agreement,annex B,the order form,the 2024 amendment,section 7.2,the schedule of fees",
    ),
    "code": _topic(
        "the parser,this unit test,the retry loop,the SQL query,the cache key,the type annotation,the migration,"
        "the async handler",
        "refactor,fix,test,explain,speed up,split,rename,document",
        "the service module,utils.py,the build step,the data layer,the request handler,the CI job",
    ),
    "invoices": _topic(
        "the net amount,the due date,line 3,the tax rate,the supplier number,the purchase order,the bank details",
        "read,extract,check,add up,convert,compare,match,post",
        "the first page,the footer,the table of items,the scanned copy,the attachment,the ledger",
    ),
    "receipts": _topic(
        "the taxi receipt,the hotel bill,the tip,the exchange rate,the parking ticket,the train fare,the breakfast",
        "claim,photograph,approve,submit,round,reimburse,attach,explain",
        "the travel report,the crumpled photo,the expense tool,the back side,the foreign bill,the card statement",
    ),
    "reports": _topic(
        "the quarterly revenue,the churn rate,the incident count,the hiring plan,the new region,the backlog,"
        "the gross margin",
        "summarise,compare,highlight,forecast,question,review,chart,explain",
        "the board deck,last night's log,the sales notes,the status mail,the meeting transcript,the weekly table",
    ),
    "people": _topic(
        "parental leave,the travel policy,the sick note,remote work,the holiday carry-over,the training budget",
        "request,approve,plan,shorten,document,extend,book,understand",
        "the staff handbook,the HR portal,the intranet,the contract,the team calendar",
    ),
    "shopping": _topic(
        "waterproof hiking boots,a quiet keyboard,a standing desk,running shorts,a cast iron pan,noisy headphones",
        "find,compare,buy,order,sort,filter,match,replace",
        "the sale,the outdoor section,the kitchen shop,the reviews,the wish list,the new arrivals",
    ),
}

STYLES: dict[StyleName, Style] = {
    "plain": Style(("Thanks for asking.", "Here is what to do."), 0.25, 0.15, 0.12, 0.05, 0.3, 0.2),
    "markdown": Style(("Here is a detailed overview:", "Here are the steps:"), 0.5, 0.1, 0.75, 0.5, 0.15, 0.45),
    "terse": Style(("In short:",), 0.1, 0.03, 0.05, 0.0, 0.85, 0.02),
    "chatty": Style(("Great question!", "I'm happy to help with that!"), 0.85, 0.45, 0.1, 0.05, 0.15, 0.75),
}

_ASK = (
    "How can I {act} {thing}?",
    "I tried to {act} {thing} but {place} shows an error.",
    "Why does {place} not let me {act} {thing}?",
    "Please {act} {thing} and tell me what {place} says.",
    "What happens to {thing} if I {act} it twice?",
    "My colleague could {act} {thing} yesterday, today {place} refuses.",
    "Is there a way to {act} {thing} without {place}?",
    "We need to {act} {thing} before Friday.",
)
_STATEMENTS = (
    "To {act} {thing}, open {place} and follow the steps shown there until you see the confirmation.",
    "You will find {thing} in {place}, where you can {act} it at any time.",
    "{place} keeps a copy of {thing}, so nothing is lost when you {act} it again.",
    "If {place} does not show {thing}, wait a few minutes and reload the page.",
    "Once you {act} {thing}, {place} is updated within the hour and you get a short notice.",
    "The rule for {thing} is set in {place}, and only an owner can {act} it.",
)
_STATEMENTS_SHORT = ("Open {place}.", "Then {act} {thing}.", "Check {thing} in {place}.", "{place} has {thing}.")
_HEDGES = ("Usually, ", "It may be that ", "As far as I can see, ", "I think ", "Perhaps ")
_CLOSERS = ("Let me know if you need anything else.", "I hope this helps!", "Feel free to ask again.")
_LABELS = ("billing", "delivery", "account", "complaint", "other")
_CODE = (
    "    {0} = load({1})\n",
    "    if {0} is None:\n        return {1}\n",
    "    for {1} in {0}:\n        check({1})\n",
    "    return merge({0}, {1})\n",
)
_NAMES = ("items", "rows", "key", "state", "query", "result", "batch", "node")


class Dice:
    """A linear congruential generator: cheap, and each text has its own."""

    __slots__ = ("_state",)

    def __init__(self, key: int) -> None:
        self._state = key

    def roll(self, sides: int) -> int:
        """Give 0 .. sides - 1."""
        self._state = (self._state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        return (self._state >> 33) * sides >> 31

    def happens(self, share: float) -> bool:
        """Come out true in `share` of the rolls."""
        return self.roll(1000) < share * 1000

    def one(self, of: tuple[str, ...] | list[str]) -> str:
        """Choose one of them."""
        return of[self.roll(len(of))]


def write_input(topic: TopicName, tokens: int, key: int) -> str:
    """Write a request of about `tokens` tokens, at most MAX_INPUT_CHARS characters."""
    dice = Dice(key)
    words = TOPICS[topic]
    sentences = [_fill(dice, words, _ASK)]
    room = min(tokens * CHARS_A_TOKEN, MAX_INPUT_CHARS) - len(sentences[0])
    while True:
        sentence = _fill(dice, words, _ASK)
        if len(sentence) > 2 * room:
            break
        sentences.append(sentence)
        room -= len(sentence) + 1
    return " ".join(sentences)[:MAX_INPUT_CHARS]


def write_output(form: Form, style: StyleName, topic: TopicName, tokens: int, key: int) -> str:
    """Write an answer of about `tokens` tokens, at most MAX_OUTPUT_CHARS characters; JSON and code end whole."""
    dice = Dice(key ^ 0x5DEECE66D)
    chars = min(tokens * CHARS_A_TOKEN, MAX_OUTPUT_CHARS)
    if form == "label":
        return dice.one(_LABELS)
    if form == "query":
        words = TOPICS[topic]
        return f"{dice.one(words.acts)} {dice.one(words.things)} {dice.one(words.places)}"[: max(chars, 12)]
    if form == "json":
        return _json(dice, chars)
    if form == "code":
        return _code(dice, chars) + _prose(dice, STYLES[style], TOPICS[topic], chars // 3)
    return _prose(dice, STYLES[style], TOPICS[topic], chars)


def _fill(dice: Dice, words: Topic, templates: tuple[str, ...]) -> str:
    sentence = dice.one(templates).format(
        act=dice.one(words.acts), thing=dice.one(words.things), place=dice.one(words.places)
    )
    return sentence[0].upper() + sentence[1:]


def _prose(dice: Dice, style: Style, words: Topic, chars: int) -> str:
    parts = [dice.one(style.openers)] if dice.happens(style.opener) else []
    room = chars - sum(map(len, parts))
    closer = dice.one(_CLOSERS) if dice.happens(style.closer) else ""
    room -= len(closer)
    listing = dice.happens(style.bullet)
    while True:
        sentence = _fill(dice, words, _STATEMENTS_SHORT if dice.happens(style.short) else _STATEMENTS)
        if dice.happens(style.hedge):
            sentence = dice.one(_HEDGES) + sentence[0].lower() + sentence[1:]
        if listing:
            name = dice.one(words.things).capitalize()
            sentence = f"\n- **{name}**: {sentence}" if dice.happens(style.bold) else f"\n- {sentence}"
        if parts and len(sentence) > 2 * room:
            break
        parts.append(sentence)
        room -= len(sentence) + 1
    if closer:
        parts.append("\n\n" + closer if listing else closer)
    return " ".join(parts)[:MAX_OUTPUT_CHARS]


def _json(dice: Dice, chars: int) -> str:
    """Write valid JSON: items are added while there is room."""
    net = 1000 + dice.roll(900_000)
    tax = net * 19 // 100
    head = f'{{"number": "RE-{dice.roll(90_000) + 10_000}", "currency": "EUR", "net": {net / 100}, "tax": {tax / 100}'
    items: list[str] = []
    room = chars - len(head)
    while room > 60 or not items:
        items.append(f'{{"text": "{dice.one(TOPICS["invoices"].things)}", "amount": {dice.roll(90_000) / 100}}}')
        room -= len(items[-1]) + 2
    return f'{head}, "items": [{", ".join(items)}]}}'


def _code(dice: Dice, chars: int) -> str:
    lines = [f"```python\ndef {dice.one(_NAMES)}_{dice.one(_NAMES)}({dice.one(_NAMES)}):\n"]
    room = chars * 2 // 3
    while room > 0:
        lines.append(dice.one(_CODE).format(dice.one(_NAMES), dice.one(_NAMES)))
        room -= len(lines[-1])
    return "".join(lines) + "```\n"
