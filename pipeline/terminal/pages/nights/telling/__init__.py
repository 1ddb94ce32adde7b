"""What a report says of a date: numbers beside what is usual, and what is worth an eye."""
