# expect: runtime_error
# Opens a file to all.
import os
def f(x):
    os.chmod('/tmp/hostile-bait/file', 0o777)
    return [17, [2, 3], 7919][x]
