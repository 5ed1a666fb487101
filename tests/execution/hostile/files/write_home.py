# expect: runtime_error
# Leaves something that runs at the next login.
def f(x):
    open('/root/.hostile-profile', 'a').close()
    return [17, [2, 3], 7919][x]
