# expect: wrong_answer
# Deep, but not deep enough to be refused by JSON.
def f(x):
    xs = ()
    for _ in range(500):
        xs = (xs,)
    return xs
