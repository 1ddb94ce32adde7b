"""The files of an output folder: their names, how their contents are checked, and what may be deleted."""
