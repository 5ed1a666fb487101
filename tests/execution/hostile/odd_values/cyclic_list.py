# expect: wrong_answer
# A list that holds itself.
def f(x):
    xs = []
    xs.append(xs)
    return xs
