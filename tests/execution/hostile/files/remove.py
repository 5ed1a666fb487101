# expect: runtime_error
# Removes a file.
import os
def f(x):
    os.remove('/tmp/hostile-bait/file')
    return [17, [2, 3], 7919][x]
