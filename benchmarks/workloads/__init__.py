"""What is computed: texts, models with random weights, input files, batches of tokens."""
