# expect: wrong_answer
# Text that no encoding has.
def f(x):
    return '\ud800' * 3 + '\udcff'
