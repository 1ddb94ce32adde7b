"""Long checks: kills, nights in which little changes, quality of trainings, acceptance on shared texts."""
