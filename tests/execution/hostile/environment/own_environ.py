# expect: runtime_error
# The environment by the file system.
def f(x):
    open('/proc/self/environ', 'rb').read()
    return [17, [2, 3], 7919][x]
