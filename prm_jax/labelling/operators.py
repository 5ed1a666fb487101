"""The table of operators: every mutation and refactoring by name.

`label.py` samples from it; evaluation and the report group by its names. To add an operator, write a function
with its before and after in the docstring, and name it here.
"""

from __future__ import annotations

from prm_jax.labelling import mutations, refactorings, statement_mutations
from prm_jax.labelling.splice import Operator

MUTATIONS: dict[str, Operator] = {
    find.__name__: Operator(find.__name__, find)
    for find in (
        mutations.comparison_swap,
        mutations.arithmetic_swap,
        mutations.division_swap,
        mutations.swapped_operands,
        mutations.swapped_arguments,
        mutations.off_by_one,
        mutations.integer_change,
        mutations.string_change,
        mutations.wrong_variable,
        mutations.wrong_return,
        mutations.wrong_start,
        mutations.negated_condition,
        mutations.and_or_swap,
        mutations.wrong_call,
        mutations.misspelt_name,
        mutations.unbalanced_bracket,
        statement_mutations.augmented_to_plain,
        statement_mutations.deleted_statement,
        statement_mutations.swapped_statements,
        statement_mutations.dropped_filter,
        statement_mutations.missing_return,
        statement_mutations.early_return,
        statement_mutations.dedented_statement,
        statement_mutations.lost_base_case,
        statement_mutations.aliased_copy,
        statement_mutations.mutable_default,
        statement_mutations.broken_indentation,
        statement_mutations.missing_colon,
    )
}

REFACTORINGS: dict[str, Operator] = {
    find.__name__: Operator(find.__name__, find)
    for find in (
        refactorings.rename_local,
        refactorings.swap_commutative,
        refactorings.flip_comparison,
        refactorings.augmented_to_assignment,
        refactorings.assignment_to_augmented,
        refactorings.comprehension_to_loop,
        refactorings.ternary_to_if,
        refactorings.if_to_ternary,
        refactorings.negate_if_else,
        refactorings.extract_return,
        refactorings.inline_return,
        refactorings.square,
        refactorings.range_start,
        refactorings.parenthesise,
        refactorings.add_comment,
    )
}

# The mutation that needs other programs (`donors.py`), so that it is not in the table.
FOREIGN = "foreign_statement"
# What a policy wrote in the place of a step (`teacher.py`), right or wrong.
REWRITE = "policy_rewrite"
MUTATION_NAMES = frozenset(MUTATIONS) | {FOREIGN}

# Edits whose text does not compile; the report shows them apart, since any parser finds them.
COMPILE_LEVEL = frozenset({"unbalanced_bracket", "broken_indentation", "missing_colon"})

# Every step has these edits, and any parser or linter finds them, so that few are drawn.
EASY = COMPILE_LEVEL | {"misspelt_name"}
