# expect: wrong_answer
# A letter and all the accents that there are.
def f(x):
    return 'a' + '\u0301' * 10**5
