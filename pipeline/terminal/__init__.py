"""Everything that is printed, for people and for machines."""
