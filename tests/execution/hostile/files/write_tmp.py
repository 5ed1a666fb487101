# expect: runtime_error
# Leaves a file for the next program.
def f(x):
    open('/tmp/hostile-file', 'w').close()
    return [17, [2, 3], 7919][x]
