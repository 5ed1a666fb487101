# expect: runtime_error
# Where everything lies.
def f(x):
    open('/proc/self/maps').read()
    return [17, [2, 3], 7919][x]
