"""`ModelCall` to `Observation`: numbers, categories, labels, price, hashes, text measures. The text ends here."""

from .embed import EmbedderError, EmbedderSettings
from .measurer import CALLS_AT_ONCE, Arrival, Measurer, MeasureSettings, Redactor
from .pricing import PRICE_SOURCE, price_usd
from .texts import COUNTED, TextSettings

__all__ = [
    "CALLS_AT_ONCE",
    "COUNTED",
    "PRICE_SOURCE",
    "Arrival",
    "EmbedderError",
    "EmbedderSettings",
    "MeasureSettings",
    "Measurer",
    "Redactor",
    "TextSettings",
    "price_usd",
]
