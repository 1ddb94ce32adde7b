"""The summary of a run: counts of its rows in fixed bins, made while they are written, added up when it is judged."""
