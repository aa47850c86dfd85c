"""Polling, and what the process tells of itself."""
