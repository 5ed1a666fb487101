# expect: runtime_error
# May signal its process group.
import os
def f(x):
    os.killpg(0, 0)
    return [17, [2, 3], 7919][x]
