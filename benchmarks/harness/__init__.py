"""How a comparison is made: turns of live processes, agreement of their results, limits, report, plots."""
