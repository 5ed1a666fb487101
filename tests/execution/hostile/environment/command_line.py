# expect: runtime_error
# How the supervisor was started.
import os
def f(x):
    open(f'/proc/{os.getppid()}/cmdline', 'rb').read()
    return [17, [2, 3], 7919][x]
