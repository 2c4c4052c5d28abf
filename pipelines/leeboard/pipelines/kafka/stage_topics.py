"""Which topics each stage reads and writes, and what it must be allowed to do with them."""

from leeboard.pipelines.topics import StageName, TopicSettings


def topics_of(stage: StageName, topics: TopicSettings) -> list[str]:
    """The topics that a stage consumes."""
    return {"normalise": [*topics.raw, topics.control], "watch": [topics.calls], "gate": [topics.alerts]}[stage]


def rights_of(stage: StageName, topics: TopicSettings) -> dict[str, list[str]]:
    """Topic -> operations that a stage needs."""
    read, write, both = ["READ"], ["WRITE"], ["READ", "WRITE"]
    if stage == "normalise":
        return {**dict.fromkeys([*topics.raw, topics.control], read), topics.calls: write, topics.dead_letters: write}
    if stage == "watch":
        written = [topics.alerts, topics.alert_state, topics.summaries, topics.dead_letters]
        return {topics.calls: read, topics.state: both, **dict.fromkeys(written, write)}
    written = [topics.pages, topics.alert_state, topics.dead_letters]
    read_only = dict.fromkeys([topics.alerts, topics.summaries], read)
    return {**read_only, topics.gate_state: both, **dict.fromkeys(written, write)}
