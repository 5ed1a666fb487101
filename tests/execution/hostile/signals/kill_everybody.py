# expect: runtime_error
# May signal every process of the user.
import os
def f(x):
    os.kill(-1, 0)
    return [17, [2, 3], 7919][x]
