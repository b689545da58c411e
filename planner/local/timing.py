"""How fast the simulated workers are: a profile made for them, and the table that they read it from.

Worker and planner get the same figures, so that what differs is what the planner does with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from planner.core.profiles import DecodePoint, PrefillPoint, Profile, Provenance

_USAGES = (0.002, 0.05, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True)
class LinearTiming:
    """An engine whose times grow along straight lines: TTFT with the prompt, a decode step with the KV cache in use."""

    prefill_s: float = 0.010
    prefill_s_per_token: float = 150e-6
    step_s: float = 0.010
    step_s_per_kv_token: float = 5e-6
    kv_tokens: int = 16_384  # of one worker
    longest_prompt: int = 8_192

    def profile(self, name: str) -> Profile:
        """The profile of one such worker, exact at every point."""
        lengths = np.unique(np.geomspace(16, self.longest_prompt, 24).round())
        contexts = (64.0, 256.0, 1024.0, 4096.0)
        return Profile(
            name=name,
            provenance=Provenance("simulated", "none", "Dynamo mocker", measured=False, source="planner.local.timing"),
            prefill_points=tuple(self._prefill(float(isl)) for isl in lengths),
            decode_points=tuple(
                self._decode(usage, context)
                for context in contexts
                for usage in _USAGES
                if usage * self.kv_tokens >= context
            ),
            max_kv_tokens=float(self.kv_tokens),
        )

    def _prefill(self, isl: float) -> PrefillPoint:
        seconds = self.prefill_s + self.prefill_s_per_token * isl
        return PrefillPoint(isl, seconds, isl / seconds)

    def _decode(self, usage: float, context: float) -> DecodePoint:
        held = usage * self.kv_tokens
        seconds = self.step_s + self.step_s_per_kv_token * held
        return DecodePoint(usage, context, seconds, held / context / seconds)


def write_table(profile: Profile, path: Path) -> None:
    """The profile's readings as the npz table of the simulated workers; milliseconds there."""
    isl = np.unique(np.geomspace(1, profile.prefill.isl_range[1], 200).round())
    kv = np.linspace(0, profile.max_kv_tokens, 200)
    contexts = np.linspace(1, profile.max_kv_tokens / 2, 200)
    itl = [[profile.decode.itl_s(max(1.0, held / context), context) for context in contexts] for held in kv]
    np.savez(
        path,
        prefill_isl=isl,
        prefill_ttft_ms=np.array([profile.prefill.service_s(float(n)) for n in isl]) * 1e3,
        decode_active_kv_tokens=kv,
        decode_context_length=contexts,
        decode_itl=np.array(itl) * 1e3,
    )
