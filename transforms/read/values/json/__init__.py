"""JSON as it is written: lines, arrays, long objects, and the keys inside."""
