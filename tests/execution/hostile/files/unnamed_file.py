# expect: runtime_error
# A file without a name.
import os
def f(x):
    os.open('/tmp', os.O_TMPFILE | os.O_RDWR)
    return [17, [2, 3], 7919][x]
