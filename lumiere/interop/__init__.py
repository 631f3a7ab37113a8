"""Public weights in, our weights out: names, shapes and conventions of other code are met here and nowhere else."""
