# expect: wrong_answer
# A dictionary that holds itself.
def f(x):
    d = {}
    d['d'] = d
    return d
