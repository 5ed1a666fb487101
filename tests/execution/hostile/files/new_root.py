# expect: runtime_error
# Another root folder, as root may.
import os
def f(x):
    os.chroot('.')
    return [17, [2, 3], 7919][x]
