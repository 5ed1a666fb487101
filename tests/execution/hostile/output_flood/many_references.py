# expect: wrong_answer
# A small object that is huge when it is written out.
def f(x):
    xs = [0] * 10
    for _ in range(20):
        xs = [xs] * 10
    return xs
