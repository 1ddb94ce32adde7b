"""Step 1: plan the input, then read its bytes into Rows; equal ids and unchanged rows are found here."""
