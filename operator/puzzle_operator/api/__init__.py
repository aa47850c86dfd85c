"""The PuzzleModel resource: its types, which are its only schema, and the words of its conditions and
events."""
