"""Feeding pagers and chats: what is told to whom, and delivery at least once."""
