"""From a folder of videos to training clips: cut at shots, scored, chosen by rules, without near duplicates.

python -m lumiere.curate --videos=videos --out=curated --num_frames=80 --fps=16
python -m lumiere.curate --videos=videos --out=curated --write                                       (and stores the clips for training)
python -m lumiere.curate --videos=videos --out=curated --keep='motion > 0.05' --keep='blur < 0.6'    (other rules: files are not read again)
python -m lumiere.curate --videos=videos --out=curated --shard=3/100                                 (of a job array; without --shard at the end)

Training reads OUT: --config.data.dataset=curated --config.data.folder=OUT.
OUT/sources.parquet has a row a file, OUT/clips.parquet a row a clip, with its scores and why it was dropped. What was done is
not done again: the same command goes on where it was stopped.
"""

import pathlib

from absl import flags

from lumiere import cli


def main():
  """Reads the flags, looks at what has not been looked at, and decides."""
  try:
    from lumiere.data.curation import records, run, runners
  except ModuleNotFoundError as error:
    raise ValueError(
      f"{error.name} is missing: python -m pip install -c constraints.txt -e '.[curate]'"
    ) from error
  from lumiere.data.curation.look import ClipSettings
  from lumiere.data.curation.rules import DEFAULT_RULES

  values = flags.FLAGS
  for name in ("videos", "out"):
    if not values[name].value:
      raise ValueError(f"--{name} is missing")
  settings = ClipSettings(
    values.num_frames, values.fps, values.margin, values.seed, values.detector
  )
  if values.runner:
    runner = runners.Beam(values.runner, tuple(values.beam_option))
  else:
    runner = runners.Processes(values.workers)
  job = run.Job.make(
    pathlib.Path(values.videos), pathlib.Path(values.out), settings, values.files_per_shard
  )
  captions = values.captions or (values.videos if run.is_table(pathlib.Path(values.videos)) else "")
  captions = pathlib.Path(captions) if captions else None
  job.look(runner, shard_of(values.shard))
  if values.shard:
    print(f"{len(job.missing())} of {job.num_shards} shards are left")
    return
  rules = list(DEFAULT_RULES) if values.keep is None else [rule for rule in values.keep if rule]
  for spec in values.score:
    job.score(spec, runner, captions)
  options = dict(radius=values.duplicate_bits, held_out=values.held_out, captions=captions)
  print(job.decide(rules, **options))
  if values.report:
    print(job.report(rules))
  if values.write:
    print(
      job.write(
        records.RecordSettings(values.crf, values.side, values.clips_per_file, values.file_format),
        runner,
      )
    )


def shard_of(text: str) -> tuple[int, int]:
  """--shard=i/n as (i, n), i from 1 on; (1, 1) for an empty text; raises ValueError."""
  try:
    index, count = (int(part) for part in (text or "1/1").split("/"))
    if not 1 <= index <= count:
      raise ValueError
  except ValueError:
    raise ValueError(f"--shard={text} must be i/n with i from 1 to n, such as 3/100") from None
  return index, count


if __name__ == "__main__":
  flags.DEFINE_string(
    "videos",
    None,
    "Folder of videos, at any depth, with their captions; or a .tar archive; or a table of files, .csv, .jsonl or .parquet.",
  )
  flags.DEFINE_string("out", None, "Folder for the tables.")
  flags.DEFINE_integer("num_frames", 80, "Frames of a clip.", 1)
  flags.DEFINE_float("fps", 16.0, "Frames per second of a clip.")
  flags.DEFINE_float("margin", 0.1, "Seconds next to a cut that are left out.", 0.0)
  flags.DEFINE_string(
    "detector",
    "classical",
    "What finds cuts: classical, or transnet, a network (python -m lumiere.fetch --what=transnet).",
  )
  flags.DEFINE_integer("seed", 0, "Of the phases at which clips begin.", 0)
  flags.DEFINE_multi_string(
    "keep",
    None,
    "A rule that clips have to follow, several times for several; default: those of lumiere/data/curation/rules.py; empty: none.",
  )
  flags.DEFINE_multi_string(
    "score", [], "MODULE:FUNCTION: a score of your own, see lumiere/data/curation/scores.py."
  )
  flags.DEFINE_integer(
    "duplicate_bits",
    6,
    "Bits of 64 in which hashes of near duplicates may differ; -1 keeps all.",
    -1,
    16,
  )
  flags.DEFINE_string(
    "captions",
    None,
    "Table of captions, .csv, .jsonl or .parquet, beside those in the folder; columns as in docs/curation.md.",
  )
  flags.DEFINE_float("held_out", 0.05, "Share of the files that are for validation.", 0.0, 1.0)
  flags.DEFINE_integer("workers", 1, "Processes that look at files.", 1)
  flags.DEFINE_string(
    "runner",
    "",
    "Runner of Apache Beam that does the work in place of --workers, such as FlinkRunner; see docs/curation.md.",
  )
  flags.DEFINE_multi_string(
    "beam_option", [], "Option of the Beam pipeline, such as flink_master=host:8081."
  )
  flags.DEFINE_string("shard", "", "i/n: look only at this part of the files, and decide nothing.")
  flags.DEFINE_bool(
    "report", False, "Write a page about files, clips and scores, OUT/report/index.html."
  )
  flags.DEFINE_bool("write", False, "Store the clips that are kept, encoded, in OUT/records.")
  flags.DEFINE_integer("crf", 18, "Quality of the stored clips, x264's: 0 to 51.", 0, 51)
  flags.DEFINE_integer("side", 0, "Shorter side of stored frames, at most; 0: as in the source.", 0)
  flags.DEFINE_integer("clips_per_file", 256, "Clips of a file of OUT/records.", 1)
  flags.DEFINE_enum(
    "file_format",
    "array_record",
    ["array_record", "tfrecord"],
    "Of OUT/records: tfrecord where training reads them from gs://.",
  )
  flags.DEFINE_integer(
    "files_per_shard", 32, "Files that are looked at before a table is written.", 1
  )
  cli.run(main)
