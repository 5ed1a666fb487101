# expect: memory
# cpu: 5
# Twice as long each time.
def f(x):
    text = 'x'
    while True:
        text += text
