"""What is compared: one level each, from the model step to whole commands."""
