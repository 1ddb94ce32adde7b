"""What travels between the steps: Arrow schemas, dead letters, hashes, sizes."""
