# expect: memory
# cpu: 5
# More than there is, at once.
def f(x):
    return len(bytearray(1 << 34))
