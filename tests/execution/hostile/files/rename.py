# expect: runtime_error
# Moves a file away.
import os
def f(x):
    os.rename('/tmp/hostile-bait/file', '/tmp/hostile-moved')
    return [17, [2, 3], 7919][x]
