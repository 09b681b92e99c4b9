"""The one table of tolerances, each with its reason."""

GRADIENT = 1e-6
"""Central differences in float64: h² + epsilon / h is about 1e-10 of the value, and a
thousand terms are summed."""

FLOAT64 = 1e-12
"""The same formula evaluated in another order, in float64: some hundred roundings."""

FLOAT32 = 1e-5
"""The same in float32: epsilon is 6e-8, and some hundred roundings are added."""

NORMAL_FLOAT32 = 2e-6
"""A float32 normal against its float64 twin: half an epsilon of |z| < 6."""

STANDARD_ERRORS = 4.0
"""A Monte-Carlo mean against the exact one: one in 16,000 fails; seeds are fixed."""

PARITY = {"float64": 1e-10, "float32": 1e-5}
"""Loss and gradients against PyTorch's, relative to max(1, |theirs|): other formulas in
another order; in float32, PyTorch's KL cancels where logvar is near 0."""

PARITY_MAPS = {"float64": 1e-10, "float32": 1e-4}
"""The same for single ops on maps: sums over many taps in another order, and layer norm
divides what cancelled by a σ that may be small."""

PARITY_STEPS = 1e-9
"""100 updates of an optimizer in float64, each with some ten roundings."""

PAGE = 1e-4
"""A picture of a page's decoder, in float64, beside Python's in float32, of the same
weights: pixels are in [0, 1], and each sums some hundred products."""
