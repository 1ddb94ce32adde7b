"""Networks that are imported: what flags say of them, and those that are scored as they were exported."""
