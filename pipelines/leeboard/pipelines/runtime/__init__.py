"""The stages without a broker."""
