# expect: runtime_error
# Asks for the grader.
def f(x):
    from prm_jax.execution import grading
    from prm_jax.problems import problem
    return [17, [2, 3], 7919][x]
