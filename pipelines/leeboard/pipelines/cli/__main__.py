"""`python -m leeboard.pipelines.cli`."""

from . import main

main()
