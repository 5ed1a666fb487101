# expect: runtime_error
# Reads the machine's memory.
def f(x):
    open('/dev/mem', 'rb').read(1)
    return [17, [2, 3], 7919][x]
