# expect: timeout | memory
# A product without end.
import math
def f(x):
    return math.factorial(10 ** 9)
