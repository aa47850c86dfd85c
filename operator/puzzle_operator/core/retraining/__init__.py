"""When a model is retrained, and what becomes of it: triggers, what is in their way, a run from start to end."""
