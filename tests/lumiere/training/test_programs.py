"""What is read from the text of a compiled program."""

from lumiere.training import programs


def test_collectives_are_read_from_the_program():
  text = """
  %all-gather.1 = bf16[8,16]{1,0} all-gather(%a), channel_id=1
  %cp = (f32[4]{0}, f32[4]{0}, u32[]) collective-permute-start(%b), channel_id=2
  %all-reduce.2 = (f32[2]{0}, f32[3]{0}) all-reduce(%c, %d), channel_id=3
  """
  sizes = programs.collective_bytes(text)
  assert sizes == {"all-gather": 256, "collective-permute": 16, "all-reduce": 20}


def test_estimates_are_summed():
  text = """backend_config={"estimated_cycles":"12"} ... {"estimated_cycles":"30"}"""
  assert programs.estimated_cycles(text) == 42


def test_what_did_not_fit():
  message = "the total memory required for HLO temporaries (32.50G) exceeds available HBM (15.75G)."
  assert programs.temporaries_that_did_not_fit(message) == 32.5 * 2**30
  assert programs.temporaries_that_did_not_fit("something else") is None
