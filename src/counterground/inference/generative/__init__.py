"""Generative."""
