"""Every command of leeboard that deploy runs or shows exists, with its options."""

import pytest

from .commands import everywhere, wrong_with


@pytest.mark.parametrize("where", everywhere())
def test_a_command_line_would_be_taken(where: str) -> None:
    assert wrong_with(everywhere()[where]) is None


def test_command_lines_were_found_everywhere() -> None:
    found = list(everywhere())
    for beginning, least in (("image", 1), ("compose", 7), ("kubernetes", 5), ("OPERATIONS.md", 5), ("acls", 2)):
        assert sum(where.startswith(beginning) for where in found) >= least, beginning


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["worker", "--stages", "watch"], None),
        (["worker", "--stage", "watch"], "No such option"),
        (["topics", "apply", "--json"], None),
        (["topics", "destroy"], "no command destroy"),
        (["forget"], "no command forget"),
        (["topics"], "no command"),
        (["compare"], "Missing"),
        ([], "no command"),
    ],
)
def test_the_check_of_command_lines_finds_what_it_is_for(arguments: list[str], said: str | None) -> None:
    wrong = wrong_with(arguments)
    assert wrong is None if said is None else said in str(wrong)
