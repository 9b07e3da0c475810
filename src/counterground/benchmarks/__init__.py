"""Room: benchmarks."""
