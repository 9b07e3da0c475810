"""Photos and their backgrounds into a pool: collected, downloaded or imported. See README.md."""
