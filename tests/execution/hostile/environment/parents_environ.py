# expect: runtime_error
# The parent's environment.
import os
def f(x):
    open(f'/proc/{os.getppid()}/environ', 'rb').read()
    return [17, [2, 3], 7919][x]
