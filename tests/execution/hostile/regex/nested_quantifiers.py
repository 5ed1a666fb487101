# expect: timeout
# Backtracks for longer than the universe is old, in C.
import re
def f(x):
    return re.match(r'(a+)+$', 'a' * 40 + 'b') is None
