"""What a lower precision costs one bundle on one kind of chip: measured, judged, and kept beside the bundle."""
