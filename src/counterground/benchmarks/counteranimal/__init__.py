"""Counteranimal."""
