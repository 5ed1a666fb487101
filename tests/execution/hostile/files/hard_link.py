# expect: runtime_error
# A second name of a file.
import os
def f(x):
    os.link('/tmp/hostile-bait/file', '/tmp/hostile-hard')
    return [17, [2, 3], 7919][x]
