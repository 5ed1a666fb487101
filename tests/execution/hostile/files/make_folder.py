# expect: runtime_error
# Makes a folder.
import os
def f(x):
    os.mkdir('/tmp/hostile-folder')
    return [17, [2, 3], 7919][x]
