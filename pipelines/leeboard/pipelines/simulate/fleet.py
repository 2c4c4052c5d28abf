"""The default fleet: eight scopes that a middle-sized company could run."""

from msgspec.structs import replace

from .apps import App, Prompt, RequestKind, Rhythm, ServedModel

OFFICE = Rhythm(
    hours=(1, 1, 1, 1, 1, 2, 6, 14, 24, 30, 32, 30, 25, 28, 31, 30, 25, 16, 9, 6, 4, 3, 2, 1),
    weekdays=(1.0, 1.05, 1.0, 0.97, 0.85, 0.35, 0.3),
)
CONSUMER = Rhythm(
    hours=(8, 5, 4, 3, 3, 4, 8, 13, 18, 21, 22, 23, 24, 23, 22, 22, 23, 25, 28, 31, 32, 28, 20, 13),
    weekdays=(1.0, 0.97, 0.96, 1.0, 1.05, 1.1, 1.08),
)
NIGHTLY = Rhythm(hours=(2, 30, 40, 30, 8, *([0.02] * 18), 0.5))

SERVED = {
    "gpt-4o": ServedModel(
        provider="openai",
        requested="gpt-4o",
        served="gpt-4o-2024-11-20",
        fingerprints=("fp_a7d06e42a7", "fp_5d58a6052a"),
        ttft_ms=420,
        token_ms=11,
    ),
    "gpt-4o-mini": ServedModel(
        provider="openai", requested="gpt-4o-mini", served="gpt-4o-mini-2024-07-18", ttft_ms=310, token_ms=8
    ),
    "gpt-4.1-mini": ServedModel(
        provider="openai", requested="gpt-4.1-mini", served="gpt-4.1-mini-2025-04-14", ttft_ms=360, token_ms=9
    ),
    "o4-mini": ServedModel(
        provider="openai", requested="o4-mini", served="o4-mini-2025-04-16", ttft_ms=900, token_ms=7
    ),
    "sonnet": ServedModel(
        provider="anthropic",
        requested="claude-sonnet-4-5",
        served="claude-sonnet-4-5-20250929",
        ttft_ms=800,
        prefill_ms=60,
        token_ms=15,
    ),
    "haiku": ServedModel(
        provider="anthropic",
        requested="claude-haiku-4-5",
        served="claude-haiku-4-5-20251001",
        ttft_ms=380,
        prefill_ms=25,
        token_ms=7,
    ),
    "gemini-flash": ServedModel(
        provider="google", requested="gemini-2.5-flash", served="gemini-2.5-flash", ttft_ms=450, token_ms=5
    ),
    "llama-70b": ServedModel(
        provider="groq",
        requested="llama-3.3-70b-versatile",
        served="llama-3.3-70b-versatile",
        ttft_ms=160,
        prefill_ms=8,
        token_ms=3.6,
    ),
}

_CHAT_TEXT = (
    "You are the support assistant of an online shop. Answer the customer's question from the help pages. "
    "If you do not know, say so and offer to open a ticket."
)
_RAG_TEXT = (
    "Answer questions about the customer's contracts from the passages given. Quote the clause you rely on. "
    "Never give legal advice."
)
CODE_TEXT = "You are a careful programmer. Explain the change in two sentences, then give the code."


def _support() -> list[App]:
    chat = App(
        app="support",
        route="chat-answer",
        calls_a_day=0.16,
        rhythm=CONSUMER,
        model=SERVED["gpt-4o"],
        prompt=Prompt(name="support-chat", version="12", text=_CHAT_TEXT, tokens=640),
        kinds=(
            RequestKind(
                name="billing", share=0.4, input_tokens=160, output_tokens=190, output_sd=0.45, topic="billing"
            ),
            RequestKind(
                name="delivery", share=0.35, input_tokens=120, output_tokens=150, output_sd=0.45, topic="delivery"
            ),
            RequestKind(
                name="account", share=0.25, input_tokens=140, output_tokens=210, output_sd=0.45, topic="account"
            ),
        ),
        params={"temperature": 0.3},
        max_tokens=1024,
        users=4000,
        labels={"plan": {"free": 0.7, "plus": 0.3}, "channel": {"web": 0.6, "app": 0.4}},
        session_calls=3.2,
        history=0.8,
        tools=("order_status", "open_ticket"),
        tool_rate=0.12,
        score=("helpful", 0.15, 0.78, 0.2),
    )
    classifier = App(
        app="support",
        route="ticket-classifier",
        calls_a_day=0.28,
        rhythm=CONSUMER,
        model=SERVED["gpt-4o-mini"],
        prompt=Prompt(name="classify", version="4", text="Name the category of the ticket. One word.", tokens=210),
        form="label",
        kinds=(
            RequestKind(
                name="mail", share=0.7, input_tokens=230, output_tokens=4, output_sd=0.2, follows=0, topic="delivery"
            ),
            RequestKind(
                name="form", share=0.3, input_tokens=90, output_tokens=4, output_sd=0.2, follows=0, topic="account"
            ),
        ),
        params={"temperature": 0},
        max_tokens=16,
        users=4000,
        labels={"source": {"mail": 0.75, "form": 0.25}},
        repeat_rate=0.15,
        cached_rate=0.6,
        streamed=False,
        error_rate=0.004,
        slow_tokens_sd=0.02,  # a label's length does not vary slowly
    )
    return [chat, classifier]


def _documents() -> list[App]:
    contracts = App(
        app="contracts",
        route="document-qa",
        calls_a_day=0.11,
        rhythm=OFFICE,
        model=SERVED["sonnet"],
        prompt=Prompt(name="contract-qa", version="2026-01-02", text=_RAG_TEXT, tokens=1900),
        kinds=(
            RequestKind(
                name="clause", share=0.6, input_tokens=4200, input_sd=0.45, output_tokens=230, topic="contracts"
            ),
            RequestKind(
                name="compare", share=0.25, input_tokens=7600, input_sd=0.4, output_tokens=380, topic="contracts"
            ),
            RequestKind(
                name="summary", share=0.15, input_tokens=11000, input_sd=0.5, output_tokens=520, topic="contracts"
            ),
        ),
        params={"temperature": 0.1},
        max_tokens=2048,
        tenants={"acme": 0.34, "globex": 0.24, "initech": 0.2, "umbrella": 0.14, "hooli": 0.08},
        users=60,
        session_calls=2.2,
        history=0.25,
        prompt_cache_rate=0.85,
        score=("grounded", 0.3, 0.86, 0.1),
        error_rate=0.006,
    )
    invoices = App(
        app="finance",
        route="invoice-extraction",
        calls_a_day=0.07,
        rhythm=OFFICE,
        model=SERVED["gemini-flash"],
        prompt=Prompt(name="extract", version="7", text="Extract the invoice as JSON. Use the tools.", tokens=820),
        form="json",
        kinds=(
            RequestKind(
                name="one page",
                share=0.7,
                input_tokens=1300,
                input_sd=0.35,
                output_tokens=240,
                follows=0.5,
                topic="invoices",
            ),
            RequestKind(
                name="many pages",
                share=0.3,
                input_tokens=3400,
                input_sd=0.4,
                output_tokens=520,
                follows=0.5,
                topic="invoices",
            ),
        ),
        params={"temperature": 0, "response_format": "json_object"},
        tenants={"north": 0.5, "south": 0.3, "overseas": 0.2},
        users=25,
        tools=("find_supplier", "convert_currency"),
        tool_rate=0.35,
        error_rate=0.005,
    )
    return [contracts, invoices]


def _work() -> list[App]:
    code = App(
        app="code-assistant",
        route="edit",
        calls_a_day=0.085,
        rhythm=OFFICE,
        model=SERVED["o4-mini"],
        prompt=Prompt(name="edit", version="21", text=CODE_TEXT, tokens=350),
        form="code",
        kinds=(
            RequestKind(name="edit", share=0.6, input_tokens=2600, input_sd=0.8, output_tokens=420, topic="code"),
            RequestKind(name="explain", share=0.25, input_tokens=1500, input_sd=0.7, output_tokens=330, topic="code"),
            RequestKind(name="test", share=0.15, input_tokens=2100, input_sd=0.7, output_tokens=640, topic="code"),
        ),
        params={"reasoning_effort": "medium"},
        max_tokens=8192,
        users=80,
        session_calls=5.0,
        session_pause_s=90,
        history=0.25,
        session_sd=0.4,
        reasoning_tokens=220,
        prompt_cache_rate=0.7,
        tools=("read_file", "run_tests"),
        tool_rate=0.3,
        labels={"editor": {"vscode": 0.7, "jetbrains": 0.3}},
        error_rate=0.009,
    )
    nightly = App(
        app="insights",
        route="nightly-summary",
        env="batch",
        calls_a_day=0.06,
        rhythm=NIGHTLY,
        model=SERVED["gpt-4.1-mini"],
        prompt=Prompt(name="nightly", text="Summarise the notes of the day in plain words.", tokens=140),
        kinds=(
            RequestKind(name="notes", share=1, input_tokens=5200, input_sd=0.7, output_tokens=310, topic="reports"),
        ),
        max_tokens=1200,
        users=40,
        streamed=False,
        usd_per_million=(0.2, 0.8),  # the provider's batch discount
        error_rate=0.008,
        load=0.1,
    )
    return [code, nightly]


_QUERY = RequestKind(
    name="query", share=1, input_tokens=24, output_tokens=18, output_sd=0.35, follows=0.4, topic="shopping"
)


def _quiet() -> list[App]:
    rewrite = App(
        app="search",
        route="query-rewrite",
        calls_a_day=0.21,
        rhythm=CONSUMER,
        model=SERVED["llama-70b"],
        prompt=Prompt(name="rewrite", version="9", text="Rewrite the query for the product index.", tokens=160),
        form="query",
        kinds=(_QUERY,),
        users=6000,
        session_calls=1.6,
        session_pause_s=25,
        repeat_rate=0.2,
        cached_rate=0.5,
        error_rate=0.003,
        latency_sd=0.35,
    )
    people = App(
        app="people",
        route="policy-qa",
        calls_a_day=0.025,
        rhythm=OFFICE,
        model=SERVED["gpt-4.1-mini"],
        context_tokens=1_000_000,
        prompt=Prompt(name="policy", text="Answer from the staff handbook.", tokens=480),
        kinds=(RequestKind(name="policy", share=1, input_tokens=900, output_tokens=170, topic="people"),),
        users=300,
        session_calls=1.8,
        history=0.4,
        error_rate=0.007,
    )
    return [rewrite, people]


def fleet(calls_a_day: float) -> tuple[App, ...]:
    """Eight applications with `calls_a_day` calls in all; the busiest has eleven times the traffic of the quietest."""
    shares = [*_support(), *_documents(), *_work(), *_quiet()]
    return tuple(replace(app, calls_a_day=app.calls_a_day * calls_a_day) for app in shares)
