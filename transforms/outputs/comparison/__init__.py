"""What differs between the rows of two published dates: joined by id, without holding either in memory."""
