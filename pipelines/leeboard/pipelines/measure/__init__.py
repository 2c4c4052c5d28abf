"""`ModelCall` to `Observation`: numbers, categories, labels, price, hashes, text measures. The text ends here."""
