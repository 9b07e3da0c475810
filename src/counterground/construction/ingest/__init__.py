"""Bring photos and their backgrounds into a pool: collect, download or import. See README.md."""
