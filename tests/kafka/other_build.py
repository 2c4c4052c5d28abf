"""The command line of another build: `python -m tests.kafka.other_build BUILD worker ...` (see `builds.BUILDS`)."""

import sys

from tests.pipelines.watch.builds import change

if __name__ == "__main__":
    change(sys.argv.pop(1))
    from leeboard.pipelines.cli import main

    main()
