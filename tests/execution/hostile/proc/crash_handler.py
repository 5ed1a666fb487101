# expect: runtime_error
# A program of its own that the kernel runs at the next crash.
def f(x):
    open('/proc/sys/kernel/core_pattern', 'r+')
    return [17, [2, 3], 7919][x]
