"""PuzzleModel's monitor: what was predicted, what was true, and how often the two agreed, by model and version."""
