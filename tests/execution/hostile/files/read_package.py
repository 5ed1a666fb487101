# expect: runtime_error
# Reads what is installed beside the standard library: data sets, the reward's own code.
import os


def f(x):
    for name in ("site-packages", "dist-packages"):
        for folder, _, names in os.walk(os.path.join(os.path.dirname(os.__file__), name)):
            for name in names:
                open(os.path.join(folder, name), "rb").read()
                return [17, [2, 3], 7919][x]
    raise OSError("nothing is installed")
