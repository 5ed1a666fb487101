# expect: memory
# cpu: 5
# A list of eight thousand million.
def f(x):
    return [0] * (1 << 33)
