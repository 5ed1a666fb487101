# expect: runtime_error
# Leaves a file in the working folder.
def f(x):
    open('hostile-here', 'w').close()
    return [17, [2, 3], 7919][x]
