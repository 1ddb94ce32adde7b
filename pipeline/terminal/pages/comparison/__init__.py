"""What `bert-batch compare` shows: sections that are the same on a terminal and on a page."""
