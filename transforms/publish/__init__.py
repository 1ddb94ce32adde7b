"""Step 6: staged files to one published date: verdict, one swap of the manifest, the table, the cleaning."""
