"""CounterGround tells how far a vision model leans on the background instead of the object."""
