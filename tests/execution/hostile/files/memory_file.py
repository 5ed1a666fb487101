# expect: runtime_error
# A file in memory, which could be executed.
import os
def f(x):
    os.memfd_create('hostile')
    return [17, [2, 3], 7919][x]
