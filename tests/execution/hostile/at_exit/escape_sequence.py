# expect: runtime_error
# An exception that clears the screen of whoever reads it.
def f(x):
    raise ValueError("\x1b[2J\ud800\n")
