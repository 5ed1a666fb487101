"""Collectives from small programs, written as XLA prints them."""

from prm_jax.ahead.hlo import Traffic, collectives

SUM = """
%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[]{:T(128)} parameter(0)
  %y = f32[]{:T(128)} parameter(1)
  ROOT %sum = f32[]{:T(128)} add(%x, %y)
}
"""


def program(body: str, *others: str) -> str:
    return "\n".join(["HloModule jit_step", SUM, *others, "ENTRY %main (p: f32[8,4]) -> f32[8,4] {", body, "}"])


def test_kinds_and_bytes_of_what_is_moved():
    text = program("""
  %p = bf16[8,4]{1,0:T(8,128)(2,1)} parameter(0)
  %gathered = bf16[32,4]{1,0:T(8,128)(2,1)S(1)} all-gather(%p), channel_id=1, replica_groups=[2,4]<=[8], dimensions={0}
  %pair = (f32[8,4]{1,0}, /*index=1*/f32[]{:S(4)}) all-reduce(%a, %b), channel_id=2, to_apply=%add
  %part = f32[2,4]{1,0} reduce-scatter(%whole), channel_id=3, dimensions={0}, to_apply=%add
  %whole = f32[8,4]{1,0} fusion(%p), kind=kLoop
  %swapped = s32[16]{0} all-to-all(%ids), channel_id=4, dimensions={0}
  ROOT %out = f32[8,4]{1,0} copy(%whole)""")
    assert collectives(text) == {
        "all-gather": Traffic(1, 32 * 4 * 2),
        "all-reduce": Traffic(1, 8 * 4 * 4 + 4),
        "reduce-scatter": Traffic(1, 8 * 4 * 4),
        "all-to-all": Traffic(1, 16 * 4),
    }


def test_a_start_and_its_done_are_one():
    text = program("""
  %p = f32[8,4]{1,0} parameter(0)
  %s = (f32[8,4]{1,0}, f32[32,4]{1,0}) all-gather-start(%p), channel_id=1, dimensions={0}
  %d = f32[32,4]{1,0} all-gather-done(%s)
  %r = f32[8,4]{1,0} all-reduce-start(%p), channel_id=2, to_apply=%add
  ROOT %e = f32[8,4]{1,0} all-reduce-done(%r)""")
    assert collectives(text) == {"all-gather": Traffic(1, 512), "all-reduce": Traffic(1, 128)}


def test_fusions_that_share_a_channel_are_one_collective():
    part = """
%async_collective_fusion.{0} (p.{0}: f32[8,4]) -> f32[32,4] {{
  %p.{0} = f32[8,4]{{1,0}} parameter(0)
  ROOT %g.{0} = f32[32,4]{{1,0}} all-gather(%p.{0}), channel_id=7, dimensions={{0}}
}}"""
    text = program(
        """
  %p = f32[8,4]{1,0} parameter(0)
  %one = f32[32,4]{1,0} fusion(%p), kind=kCustom, calls=%async_collective_fusion.1
  ROOT %two = f32[32,4]{1,0} fusion(%p), kind=kCustom, calls=%async_collective_fusion.2""",
        part.format(1),
        part.format(2),
    )
    assert collectives(text) == {"all-gather": Traffic(1, 512)}


def test_a_fused_reduce_scatter_is_told_by_its_name():
    fused = """
%all-reduce-scatter.6 (input.6: f32[32,4]) -> f32[8,4] {
  %input.6 = f32[32,4]{1,0} parameter(0)
  %whole = f32[32,4]{1,0} all-reduce(%input.6), channel_id=5, to_apply=%add
  ROOT %own = f32[8,4]{1,0} dynamic-slice(%whole, %zero, %zero), dynamic_slice_sizes={8,4}
}"""
    text = program("  ROOT %out = f32[8,4]{1,0} fusion(%p), kind=kCustom, calls=%all-reduce-scatter.6", fused)
    assert collectives(text) == {"reduce-scatter": Traffic(1, 512)}


BODY = """
%body (state: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %state = (s32[], f32[8,4]{1,0}) parameter(0)
  %x = f32[8,4]{1,0} get-tuple-element(%state), index=1
  %r = f32[8,4]{1,0} all-reduce(%x), channel_id=9, to_apply=%add
  ROOT %next = (s32[], f32[8,4]{1,0}) tuple(%i, %r)
}"""
COUNTED = """
%condition (state: (s32[], f32[8,4])) -> pred[] {
  %bound = s32[]{:T(128)} constant(30)
  %state = (s32[], f32[8,4]{1,0}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%state), index=0
  ROOT %lt = pred[]{:T(512)} compare(%i, %bound), direction=LT
}"""
UNTIL_DONE = """
%condition (state: (s32[], f32[8,4])) -> pred[] {
  %bound = s32[]{:T(128)} constant(30)
  %zero = s32[]{:T(128)} constant(0)
  %state = (s32[], f32[8,4]{1,0}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%state), index=0
  %lt = pred[]{:T(512)} compare(%i, %bound), direction=LT
  %gt = pred[]{:T(512)} compare(%left, %zero), direction=GT
  ROOT %and = pred[]{:T(512)} and(%lt, %gt)
}"""
LOOP = "  ROOT %loop = (s32[], f32[8,4]{1,0}) while(%start), condition=%condition, body=%body"


def test_a_counted_loop_runs_as_often_as_its_condition_says():
    assert collectives(program(LOOP, BODY, COUNTED), steps=7) == {"all-reduce": Traffic(30, 30 * 128)}
    known = LOOP + ', backend_config={"known_trip_count":{"n":"12"}}'
    assert collectives(program(known, BODY, UNTIL_DONE)) == {"all-reduce": Traffic(12, 12 * 128)}


def test_the_counter_of_an_unrolled_loop_grows_by_two():
    """As a product with a split operand: XLA passes the parts on in a ring, two to a run of its loop."""
    unrolled = """
%body (state: (s32[], f32[8,4])) -> (s32[], f32[8,4]) {
  %two = s32[]{:T(128)} constant(2)
  %state = (s32[], f32[8,4]{1,0}) parameter(0)
  %x = f32[8,4]{1,0} get-tuple-element(%state), index=1
  %i = s32[]{:T(128)} get-tuple-element(%state), index=0
  %first = f32[8,4]{1,0} collective-permute(%x), channel_id=9, source_target_pairs={{0,1},{1,0}}
  %second = f32[8,4]{1,0} collective-permute(%first), channel_id=10, source_target_pairs={{0,1},{1,0}}
  %more = s32[]{:T(128)} add(%i, %two)
  ROOT %next = (s32[], f32[8,4]{1,0}) tuple(%more, %second)
}"""
    assert collectives(program(LOOP, unrolled, COUNTED)) == {"collective-permute": Traffic(30, 30 * 128)}
    odd = COUNTED.replace("constant(30)", "constant(31)")
    assert collectives(program(LOOP, unrolled, odd)) == {"collective-permute": Traffic(32, 32 * 128)}


def test_a_loop_that_the_data_end_runs_as_often_as_told():
    assert collectives(program(LOOP, BODY, UNTIL_DONE), steps=7) == {"all-reduce": Traffic(7, 7 * 128)}
    assert collectives(program(LOOP, BODY, UNTIL_DONE)) == {}


def test_of_the_branches_of_a_choice_the_costliest_counts():
    branch = """
%branch.{0} (p: f32[{0}]) -> f32[] {{
  %p = f32[{0}]{{0}} parameter(0)
  ROOT %r = f32[{0}]{{0}} all-reduce(%p), channel_id={0}, to_apply=%add
}}"""
    text = program(
        "  ROOT %c = f32[] conditional(%index, %p, %q), branch_computations={%branch.3, %branch.5}",
        branch.format(3),
        branch.format(5),
    )
    assert collectives(text) == {"all-reduce": Traffic(1, 20)}
