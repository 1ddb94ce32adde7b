"""Step 4: Tokens to Scores, one macro-batch at a time. Only step.py knows Beam."""
