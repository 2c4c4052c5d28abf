"""`python -m tests.bench [section ...]`: measure, and rewrite those sections of docs/BENCHMARKS.md."""

import importlib
import platform
import re
import sys
import time
from pathlib import Path

from leeboard.pipelines.numerics import numerics_tag

PAGE = Path(__file__).parents[2] / "docs" / "BENCHMARKS.md"
#: section -> its title
SECTIONS = {
    "crossings": "False crossings, and documented changes, against River's detectors",
    "shifts": "Shifts injected into quiet real streams",
    "incidents": "Real incidents through `leeboard replay`",
    "gate": "The page gate over the real streams",
    "notices": "False notices left open",
    "texts": "Changes of texts",
    "speed": "Speed and state",
    "text": "Measuring texts",
    "demo": "Injected causes in simulated traffic",
    "throughput": "The Kafka runtime: throughput and the way back after a kill",
    "producer": "Emitting calls from an application",
    "pager": "From a call to the pager",
}
HEAD = """# Benchmarks

Every table is made by `make bench` (one section: `python -m tests.bench NAME`), with fixed seeds. Speeds are compared
side by side in one run, since machines differ: read the ratios. The real data are not part of the project
(`tests/realdata` says where they are looked for).
"""


def main(chosen: list[str]) -> None:
    """Run the chosen sections, or all of them."""
    unknown = [name for name in chosen if name not in SECTIONS]
    if unknown:
        sys.exit(f"no section {unknown[0]}; there are {', '.join(SECTIONS)}")
    text = PAGE.read_text() if PAGE.exists() else HEAD
    for name in chosen or SECTIONS:
        started = time.perf_counter()
        body = importlib.import_module(f"tests.bench.{name}").section()
        seconds = time.perf_counter() - started
        made = f"`python -m tests.bench {name}`, {seconds:.0f} s, {numerics_tag()}, {platform.processor() or 'cpu'}"
        text = replace(text, name, f"## {SECTIONS[name]}\n\n{made}\n\n{body}")
        PAGE.write_text(text)
        print(f"## {SECTIONS[name]}\n\n{body}", flush=True)


def replace(text: str, name: str, body: str) -> str:
    """The page with one section renewed, or added at its end."""
    block = f"<!-- {name} -->\n{body.rstrip()}\n<!-- end {name} -->\n"
    pattern = re.compile(rf"<!-- {name} -->\n.*?<!-- end {name} -->\n", re.DOTALL)
    if pattern.search(text):
        return pattern.sub(lambda _: block, text)
    return text.rstrip() + "\n\n" + block


main(sys.argv[1:])
