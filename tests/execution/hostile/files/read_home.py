# expect: runtime_error
# Looks into the home folder.
import os
def f(x):
    os.listdir(os.path.expanduser('~root'))
    return [17, [2, 3], 7919][x]
