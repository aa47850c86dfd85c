"""Watches whether what PuzzleNet sees still looks like what it learnt: a worker beside the monitor."""
