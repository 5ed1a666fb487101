# expect: runtime_error
# Runs a shell; its status is not 0 where it cannot.
import os
def f(x):
    if os.system('true') != 0:
        raise OSError('refused')
    return [17, [2, 3], 7919][x]
