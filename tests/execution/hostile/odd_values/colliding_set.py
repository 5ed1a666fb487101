# expect: timeout
# A set of numbers with one hash, built by honest means.
def f(x):
    return {n * (2**61 - 1) for n in range(40000)}
