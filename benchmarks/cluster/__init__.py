"""The same job on the runners that can be had on one machine."""
