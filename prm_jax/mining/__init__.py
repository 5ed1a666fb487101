"""Mining: source trees in, problems out, from functions whose docstrings show what they give."""
