# expect: wrong_answer
# Returns a million numbers.
def f(x):
    return list(range(10**6))
