# expect: runtime_error
# Writes to a file that is there.
def f(x):
    open('/tmp/hostile-bait/file', 'a').write('x')
    return [17, [2, 3], 7919][x]
