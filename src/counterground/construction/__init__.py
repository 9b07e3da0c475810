"""From raw photos to a benchmark: ingest, curate, annotate, discover, export. See README.md."""
