# expect: wrong_answer
# NaN, and infinities.
def f(x):
    return [float('nan'), float('inf'), -float('inf')][x]
