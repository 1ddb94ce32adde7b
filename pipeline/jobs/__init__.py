"""JobConfig and its parts: input, output, bundle, dates. Validated once, before anything runs."""
