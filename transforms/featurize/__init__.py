"""Step 3: Texts to Tokens through the TF Transform graph, which training fits and scoring runs."""
