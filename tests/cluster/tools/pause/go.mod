module puzzlenet.dev/tools/pause

go 1.24.0

tool puzzlenet.dev/tools/pause
