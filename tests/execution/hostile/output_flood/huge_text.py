# expect: wrong_answer
# Returns 64 MB of text.
def f(x):
    return 'x' * (1 << 26)
