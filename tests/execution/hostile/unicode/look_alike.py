# expect: runtime_error
# A name that looks like f and is not.
def ƒ(x):
    return [17, [2, 3], 7919][x]
