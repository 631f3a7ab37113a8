"""What is read from the text of a compiled program."""

from lumiere.planning import programs

PROGRAM = """
HloModule jit_step, is_scheduled=true

%body (arg.1: (s32[], f32[4])) -> (s32[], f32[4]) {
  %fusion.1 = f32[4]{0:T(128)} fusion(%x), kind=kLoop, calls=%f, backend_config={"estimated_cycles":"30"}
  %cp = (f32[4]{0}, f32[4]{0}, u32[]) collective-permute-start(%fusion.1), channel_id=2
  %while.2 = (s32[]) while(%t), condition=%few, body=%inner, metadata={op_name="inner"}
}

%inner (arg.2: (s32[])) -> (s32[]) {
  %fusion.2 = f32[4]{0} fusion(%x), kind=kLoop, calls=%f, backend_config={"estimated_cycles":"7"}
}

%few (arg.3: (s32[])) -> pred[] {
  %constant.3 = s32[]{:T(128)} constant(2)
  ROOT %lt.3 = pred[]{:T(512)} compare(%i, %constant.3), direction=LT
}

%many (arg.4: (s32[], f32[4])) -> pred[] {
  %constant.4 = s32[] constant(5)
  ROOT %lt.4 = pred[] compare(%i, %constant.4), direction=LT
}

ENTRY %main (a: bf16[8,16], c: f32[2]) -> f32[4] {
  %all-gather.1 = bf16[8,16]{1,0} all-gather(%a), channel_id=1, backend_config={"estimated_cycles":"12"}
  %all-reduce.2 = (f32[2]{0}, f32[3]{0}) all-reduce(%c, %d), channel_id=3
  %custom = f32[4]{0} custom-call(%c), backend_config={"estimated_cycles":"9223372036854775807"}
  ROOT %while.1 = (s32[], f32[4]) while(%t), condition=%many, body=%body
}
"""


def test_collectives_count_as_often_as_they_run():
  sizes = programs.collective_bytes(PROGRAM)
  assert sizes == {"all-gather": 256, "collective-permute": 5 * 16, "all-reduce": 20}


def test_estimates_are_summed_over_loops_without_what_has_none():
  assert programs.estimated_cycles(PROGRAM) == 12 + 5 * (30 + 2 * 7)
  assert programs.estimated_cycles(PROGRAM, loops=False) == 12 + 30 + 7


def test_what_did_not_fit():
  message = "the total memory required for HLO temporaries (32.50G) exceeds available HBM (15.75G)."
  assert programs.temporaries_that_did_not_fit(message) == 32.5 * 2**30
  assert programs.temporaries_that_did_not_fit("something else") is None
