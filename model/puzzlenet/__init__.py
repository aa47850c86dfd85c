"""PuzzleNet: the classifier of jigsaw pieces, from rendered data to a served, versioned model."""
