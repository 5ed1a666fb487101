# expect: wrong_answer
# Prints what a grader might look for.
print('PASSED', '{"outcome": "passed"}')
def f(x):
    print('ok')
    return 'passed'
