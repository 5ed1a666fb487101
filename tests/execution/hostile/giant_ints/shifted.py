# expect: wrong_answer
# A number of 16 MB.
def f(x):
    return 1 << (1 << 27)
