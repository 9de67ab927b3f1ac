"""The engine of the quality benches: variants of one graph, run, kept and compared."""
