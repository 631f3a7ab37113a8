"""Makes t5_*.npz beside this file: tiny random T5 encoders of transformers, what they were given, and what they gave.

pip install torch==2.13.0 transformers==5.23.0
python tests/lumiere/text/golden/make_goldens.py
"""

import pathlib

import numpy as np
import torch
from transformers import T5Config, T5EncoderModel
from transformers.models.t5.modeling_t5 import T5Attention

# v1.1's proportions (d_heads == d_model), and ByT5's (bytes, d_heads != d_model, deeper); the lengths pass the bucket that
# all far positions share.
CONFIGS = {
  "v1_1": dict(vocab_size=50, d_model=24, d_kv=8, d_ff=40, num_layers=2, num_heads=3),
  "byt5": dict(vocab_size=384, d_model=20, d_kv=6, d_ff=52, num_layers=3, num_heads=4),
}
LENGTHS = {"v1_1": (37, 20, 1), "byt5": (160, 9)}


def main():
  torch.manual_seed(0)
  for name, sizes in CONFIGS.items():
    model = T5EncoderModel(
      T5Config(feed_forward_proj="gated-gelu", tie_word_embeddings=False, **sizes)
    ).eval()
    for path, weight in model.named_parameters():
      if path.endswith(
        "layer_norm.weight"
      ):  # these start at one, which would hide a norm without a scale
        torch.nn.init.uniform_(weight, 0.5, 1.5)
    lengths = torch.tensor(LENGTHS[name])
    mask = torch.arange(max(LENGTHS[name]))[None] < lengths[:, None]
    tokens = torch.randint(1, sizes["vocab_size"], mask.shape) * mask
    with torch.no_grad():
      states = model(input_ids=tokens, attention_mask=mask.long()).last_hidden_state
    weights = {
      f"weights/{k}": v.numpy() for k, v in model.state_dict().items() if "embed_tokens" not in k
    }
    sizes = {f"config/{k}": np.asarray(v) for k, v in sizes.items()}
    arrays = dict(tokens=tokens.int().numpy(), mask=mask.numpy(), states=states.numpy())
    offsets = torch.arange(-300, 301)
    buckets = T5Attention._relative_position_bucket(offsets, num_buckets=32, max_distance=128)
    arrays |= dict(offsets=offsets.int().numpy(), buckets=buckets.int().numpy())
    path = pathlib.Path(__file__).with_name(f"t5_{name}.npz")
    np.savez_compressed(path, **sizes, **weights, **arrays)
    print(path.name, path.stat().st_size, "bytes")


if __name__ == "__main__":
  main()
