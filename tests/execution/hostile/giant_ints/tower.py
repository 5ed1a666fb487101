# expect: timeout | memory
# Nines to the power of nines.
def f(x):
    return 9 ** 9 ** 9
