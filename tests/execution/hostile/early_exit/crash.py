# expect: killed
# Follows a null pointer.
import ctypes
def f(x):
    ctypes.string_at(0)
