"""Room: published."""
