# expect: runtime_error
# Who else is there.
import os
def f(x):
    os.listdir('/proc')
    return [17, [2, 3], 7919][x]
