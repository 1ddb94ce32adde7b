"""`python -m pipeline …` is the console script `bert-batch …`."""

from pipeline.cli import main

main()
