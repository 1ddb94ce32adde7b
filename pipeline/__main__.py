"""`python -m pipeline …` is the console script `bert-batch …`."""

from pipeline.commands.app import main

main()
