# expect: runtime_error
# A file by the library for temporary files.
import tempfile
def f(x):
    tempfile.NamedTemporaryFile(prefix='hostile-', delete=False)
    return [17, [2, 3], 7919][x]
