# expect: wrong_answer
# The caller's tokens and passwords, were they there.
import os
def f(x):
    return [17, [2, 3], 7919][x] if os.environ else None
