# expect: wrong_answer
# Functions, classes and modules.
import os
def f(x):
    return [f, object, os][x]
