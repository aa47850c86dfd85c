"""Decisions: pure functions over one frozen snapshot of the world. No input, no output, no clock."""
