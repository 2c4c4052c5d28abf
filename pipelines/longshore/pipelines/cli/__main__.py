"""`python -m longshore.pipelines.cli`."""

from . import main

main()
