# expect: timeout
# Prints forever.
def f(x):
    while True:
        print('x' * 10000)
