"""Columns of Parquet with pages so large that Arrow, which holds a page several times, would take too much memory."""
