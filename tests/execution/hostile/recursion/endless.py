# expect: runtime_error
# A function that calls itself.
def f(x):
    return f(x)
