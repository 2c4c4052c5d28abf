"""What is sent: a message, its texts for people, labels withheld, and messages about leeboard itself."""
