"""Pages and notices to pagers and chats: messages, sinks, delivery, the feed as a fold, and the feed on Kafka."""
