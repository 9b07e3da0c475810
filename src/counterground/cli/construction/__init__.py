"""Construction."""
