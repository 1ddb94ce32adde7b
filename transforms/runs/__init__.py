"""The record of a run: its id, plan, staged files, row counts, verdict, history, and what resume takes over."""
