"""`kubectl puzzle`: what a PuzzleModel does, why, and the few things a person may ask of it.

It reads the status that the operator wrote, and what KServe shows; it decides nothing. Everything that it changes is a
field or an annotation that could as well be edited by hand, so it needs no rights beyond those on PuzzleModels.

    snapshot     one model at one moment                                   ┐
    text         width, glyphs, numbers for people                         │
    gates        the move that is ahead, in words                          │
    listing, tree, explain, forecast, history    a snapshot in, lines out  │ pure
    standing     a snapshot in, an exit code out                           │
    changes, consent    a model in, a patch out                            ┘
    access       kubeconfig and the API server
    screen       the terminal, and watching
    completion, options    words for the shell, flags of many verbs
    cli          the verbs
"""
