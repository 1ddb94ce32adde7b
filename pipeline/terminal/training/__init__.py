"""What a training prints: a bar while it learns, and what it made."""
