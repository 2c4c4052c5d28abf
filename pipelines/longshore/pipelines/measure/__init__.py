"""`ModelCall` to `Observation`: numbers, categories, labels, price and hashes. The text of a call ends here."""

from .measurer import Measurer, MeasureSettings, Redactor
from .pricing import PRICE_SOURCE, price_usd

__all__ = ["PRICE_SOURCE", "MeasureSettings", "Measurer", "Redactor", "price_usd"]
