"""Settings of Python's cyclic garbage collector for a process that keeps many small objects for ever."""

import gc

#: new objects between two collections of the youngest generation, and collections of one generation between two of the
#: next. Records come by the thousand and go without cycles; the defaults (700, 10, 10) cost *watch* a sixth of its time
GC_THRESHOLDS = (50_000, 20, 100)


def collect_rarely() -> None:
    """Exempt the objects that exist now from collection, and collect new ones rarely. Call it once, after loading."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
