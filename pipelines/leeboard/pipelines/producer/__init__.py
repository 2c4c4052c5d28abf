"""Calls from an application to Kafka, in the background: never slow, never an exception in the application.

    from leeboard.pipelines.producer import KafkaSettings, Producer

    producer = Producer(KafkaSettings(bootstrap_servers=["kafka:9092"]))
    with producer.call(app="support", route="chat-answer", provider="openai", model_requested="gpt-4o") as call:
        answer = ask(question)
        call.output_tokens = answer.usage.completion_tokens

Everything that an application needs is exported here, and needs the base install only.
"""

from leeboard.pipelines.kafka.settings import KafkaSettings, SecuritySettings
from leeboard.pipelines.topics import TopicSettings

from .call import Call
from .delivery import Stats
from .producer import Producer

__all__ = ["Call", "KafkaSettings", "Producer", "SecuritySettings", "Stats", "TopicSettings"]
