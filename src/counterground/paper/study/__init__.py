"""Studies of the causes: the theorem, ColoredCOCO, MultiColoredMNIST (paper section 6, appendix D)."""
