"""The operator of PuzzleModel: what it decides, what it builds, what it talks to."""
