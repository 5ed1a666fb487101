# expect: runtime_error
# Leaves a process behind.
import os, time
def f(x):
    if os.fork() == 0:
        os.setsid()
        time.sleep(60)
    return [17, [2, 3], 7919][x]
