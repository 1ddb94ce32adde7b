"""From a value as a file has it to the declared type of its column."""
