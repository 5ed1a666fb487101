# expect: runtime_error
# Finds out which processes there are.
import os
def f(x):
    os.kill(1, 0)
    return [17, [2, 3], 7919][x]
