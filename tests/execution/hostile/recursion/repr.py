# expect: runtime_error | killed | timeout
# Describes a list that is a thousand thousand lists deep.
def f(x):
    xs = []
    for _ in range(10**6):
        xs = [xs]
    return repr(xs)
