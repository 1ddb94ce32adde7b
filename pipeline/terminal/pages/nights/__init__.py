"""What `bert-batch report` shows: one date of an output, the dates before it, and what is worth an eye."""
