"""Room: photos."""
