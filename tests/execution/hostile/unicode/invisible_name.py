# expect: syntax_error
# A name with a space of no width.
def f(x):
    y​z = 1
    return y​z
