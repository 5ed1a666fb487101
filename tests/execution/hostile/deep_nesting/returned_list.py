# expect: wrong_answer
# A list in a list in a list.
def f(x):
    xs = []
    for _ in range(100000):
        xs = [xs]
    return xs
