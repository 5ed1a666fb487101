"""Step labels: mutate, refactor, run, trace; `Problem` in, `LabelledProgram` out."""
