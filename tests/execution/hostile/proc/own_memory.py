# expect: runtime_error
# Its own memory as a file, past all protection.
def f(x):
    open('/proc/self/mem', 'rb')
    return [17, [2, 3], 7919][x]
