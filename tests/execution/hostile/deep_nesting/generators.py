# expect: runtime_error | killed | timeout | wrong_answer
# Generators in generators.
def f(x):
    it = iter(())
    for _ in range(100000):
        it = (y for y in it)
    return list(it)
