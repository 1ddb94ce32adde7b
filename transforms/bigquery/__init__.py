"""Google's BigQuery as an adapter: names, clients, types and fields. Knows no run."""
