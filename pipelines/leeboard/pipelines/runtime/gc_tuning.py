"""Python's cyclic garbage collector, told what a process that keeps many small objects for ever needs of it."""

import gc

#: new objects until the young ones are looked at, and how many such looks until older ones are. Records come by the
#: thousand and go without cycles; the defaults (700, 10, 10) spend a sixth of *watch* on looking at them
THRESHOLDS = (50_000, 20, 100)


def collect_rarely() -> None:
    """To be called once, when all is loaded: what is there now is never looked at again, what comes rarely."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
