"""What all detectors are made of."""
