"""What commands write as one page: no script, no network, nothing that is not escaped."""
