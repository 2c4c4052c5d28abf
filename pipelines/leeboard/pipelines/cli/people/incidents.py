"""Pages and alerts as lines for a person: `alerts tail`, `notify --rehearse`."""

from leeboard.pipelines.cli.common import console
from leeboard.pipelines.notify.messages import words
from leeboard.pipelines.notify.messages.message import Message
from leeboard.schemas import Page
from rich.padding import Padding
from rich.text import Text

SEVERITY_STYLES = {"info": "dim", "warning": "bold yellow", "critical": "bold red"}
#: lines of one list
MAX_LINES = 5


def show_message(message: Message) -> None:
    """Print a page or an alert: a line of facts, then its sentence and what it rests on."""
    console.print(_facts(message), soft_wrap=True)
    for line in _lines(message):
        console.print(Padding(Text(line), (0, 0, 0, 2)))


def _facts(message: Message) -> Text:
    alert = message.alert
    kind = "PAGE" if isinstance(message.record, Page) else "notice" if alert.severity == "info" else "alert"
    status = f"{message.status} ({words.how_it_ended(message)})" if message.status == "resolve" else message.status
    facts = Text(f"{words.utc(message.time)}  ")
    facts.append(f"{kind:6} {status} {alert.severity}", style=SEVERITY_STYLES[alert.severity])
    facts.append(f"  {words.scope_of_message(message)}  {words.text(message.key)}")
    return facts


def _lines(message: Message) -> list[str]:
    alert = message.alert
    lines = [words.sentence(message)]
    if message.status != "resolve":
        lines += words.some([words.moved(signal) for signal in alert.signals], MAX_LINES)
        lines += words.some([words.label(shift) for shift in alert.labels], MAX_LINES)
        lines.append(f"changed {words.change(alert)}")
        lines += [f"joined by {place}" for place in words.some(words.rolled_up(message), MAX_LINES)]
        lines += [f"call {example}" for example in words.some(words.examples(alert), MAX_LINES)]
        lines += [f"{name}: {url}" for name, url in words.links(alert)]
    if isinstance(message.record, Page):
        lines.append(words.ledger(message.record.ledger))
    return lines
