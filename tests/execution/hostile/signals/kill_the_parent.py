# expect: runtime_error
# Kills the zygote.
import os, signal
def f(x):
    os.kill(os.getppid(), signal.SIGKILL)
    return [17, [2, 3], 7919][x]
