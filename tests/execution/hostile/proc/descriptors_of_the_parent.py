# expect: runtime_error
# The zygote's pipes, opened again.
import os
def f(x):
    os.listdir(f'/proc/{os.getppid()}/fd')
    return [17, [2, 3], 7919][x]
