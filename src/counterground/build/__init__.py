"""Room: build."""
