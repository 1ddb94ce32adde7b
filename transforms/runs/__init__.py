"""The record of a run: its id, plan, staged files, row counts, verdict, history, and what a resume takes over."""
