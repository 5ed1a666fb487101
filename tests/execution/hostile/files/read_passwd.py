# expect: runtime_error
# Reads the list of users.
def f(x):
    open('/etc/passwd').read()
    return [17, [2, 3], 7919][x]
