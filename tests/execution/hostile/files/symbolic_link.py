# expect: runtime_error
# A link to a secret.
import os
def f(x):
    os.symlink('/etc/shadow', '/tmp/hostile-link')
    return [17, [2, 3], 7919][x]
