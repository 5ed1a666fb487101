# expect: runtime_error
# The zygote's memory as a file.
import os
def f(x):
    open(f'/proc/{os.getppid()}/mem', 'rb')
    return [17, [2, 3], 7919][x]
