"""What lies in an output folder: how files are called, what is believed of them, and what may be deleted."""
