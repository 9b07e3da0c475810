"""Studies that show why: the theorem, ColoredCOCO, MultiColoredMNIST (paper section 6, appendix D)."""
