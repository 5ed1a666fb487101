# expect: runtime_error
# Imports what is installed beside the standard library.
import os, sys

sys.path.append(os.path.join(os.path.dirname(os.__file__), "site-packages"))
import setuptools


def f(x):
    return [17, [2, 3], 7919][x]
