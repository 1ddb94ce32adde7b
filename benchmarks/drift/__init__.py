"""What drift and its gate find in nights of real texts: `make bench-drift`, to benchmarks/reports/DRIFT.md."""
