# expect: wrong_answer
# Text that int() reads as 1.
def f(x):
    return '١'
