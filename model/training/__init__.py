"""Fine-tuning and measuring a classifier."""
