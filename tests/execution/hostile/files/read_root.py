# expect: runtime_error
# Lists the root folder.
import os
def f(x):
    os.listdir('/')
    return [17, [2, 3], 7919][x]
