# expect: runtime_error
# More decimal digits than the interpreter converts.
def f(x):
    return str(10 ** 100000)
