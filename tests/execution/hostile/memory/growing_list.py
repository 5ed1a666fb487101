# expect: memory
# cpu: 5
# Twice as much each time.
def f(x):
    xs = [0]
    while True:
        xs += xs
