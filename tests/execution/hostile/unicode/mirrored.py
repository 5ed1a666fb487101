# expect: wrong_answer
# Characters that turn the direction of reading around in a literal.
def f(x):
    return '‮1‬'
