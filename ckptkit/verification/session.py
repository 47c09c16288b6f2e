"""One verification, step by step: run, repeat, measure the noise, compare, find out what was tested, locate."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ckptkit.errors import ModelError
from ckptkit.verification.comparing import compare, joined, tolerance_of, tower_difference
from ckptkit.verification.emptiness import not_finite, why_empty
from ckptkit.verification.exploring import Explorer
from ckptkit.verification.inputs import count_rows
from ckptkit.verification.momentum import momentum_note
from ckptkit.verification.numbers import FACTOR, largest_difference, noise_floor
from ckptkit.verification.options import Options, few_rows, made_batch
from ckptkit.verification.projection import is_coarse, moved_by, random_factors
from ckptkit.verification.repeating import check_repeatable, refuse_other_samples, samples
from ckptkit.verification.result import Conditions, Divergence, OutputComparison, VerifyResult
from ckptkit.verification.runner import DirectRunner, keeping
from ckptkit.verification.sharing import Sharing
from ckptkit.verification.towers import pair_outputs

if TYPE_CHECKING:
    import numpy as np

    from ckptkit.verification.coverage import Coverage, ValueCheck
    from ckptkit.verification.runner import Runner

Arrays = Sequence["np.ndarray"]
Run = Callable[[Arrays], list["np.ndarray"]]

# Half a unit in the last place of bfloat16, in units of float32: the two differ by 16 bits of mantissa.
_HALF_BFLOAT16 = 1 << 15


class Session:
    """The two sides, and what was found about them so far."""

    def __init__(
        self, source: Runner, target: Runner, options: Options, sharing: Sharing, check_values: ValueCheck | None
    ) -> None:
        """Bind the two sides; see `verify_runners`."""
        self._source, self._target = source, target
        self._options, self._sharing, self._check_values = options, sharing, check_values
        self._given: list[list[np.ndarray]] = []
        self._made: list[list[np.ndarray]] = []
        self._batches: list[tuple[Arrays, Arrays]] = []
        self._notes: list[str] = [sharing.note, *options.notes]

    def verify(self, batches: list[list[np.ndarray]]) -> VerifyResult:
        """The verdict on these batches, and on those that are drawn beside them."""
        begun = time.monotonic()
        sharing, options = self._sharing, self._options
        ours = [[batch[i] for i in sharing.source] for batch in batches]
        theirs = [[batch[i] for i in sharing.target] for batch in batches]
        self._run_source, self._run_target = (
            self._how_to_run(side, arrays) for side, arrays in ((self._source, ours[0]), (self._target, theirs[0]))
        )
        for a, b in zip(ours, theirs, strict=True):
            self._run(a, b)
        drawn = self._repeat(ours[0], theirs[0])
        self._floors = self._measure_noise(ours[0])
        self._pairing = pair_outputs(self._given[0], self._made[0])
        self._notes.append(self._pairing.note)
        outputs = self._compare()
        coverage = None
        if all(output.passed for output in outputs):
            self._refuse_empty()
            wide = self._compare_wide(ours, theirs)
            if all(output.passed for output in wide):
                coverage = self._explore(ours, theirs, wide, time.monotonic() - begun)
                if len(self._given) > len(batches):
                    outputs = self._compare()
            outputs = (*outputs, *wide)
        passed = all(output.passed for output in outputs)
        self._tell_samples(drawn, passed=passed)
        if passed and coverage is not None:
            self._tell_untested(coverage)
        if passed:
            self._notes.append(momentum_note(self._source.live(), self._target.live()))
        divergence = None if passed or not options.layers else self._locate(*self._batches[self._worst()])
        return VerifyResult(
            self._source.name,
            self._target.name,
            Conditions(
                sum(count_rows(sharing.specs, batch) for batch in batches)
                + count_rows(sharing.specs, batches[0]) * (len(self._given) - len(batches)),
                len(self._given),
                options.seed if options.made_up else None,
                options.devices,
                options.emulate_tpu,
                FACTOR if options.calibrated else None,
            ),
            outputs,
            tower_difference(self._pairing, joined(self._given), joined(self._made)),
            divergence,
            tuple(note for note in self._notes if note),
            (self._source.loaded_by, self._target.loaded_by),
            not any(options.matched),
            coverage if passed else None,
        )

    def _how_to_run(self, runner: Runner, arrays: Arrays) -> Run:
        """As it is, or rewritten as a TPU would compute."""
        if not self._options.emulate_tpu:
            return runner.run
        import tensorflow as tf

        from ckptkit.verification.emulate import emulate_tpu

        emulated = emulate_tpu(runner.traced(arrays))

        def run(values: Arrays) -> list[np.ndarray]:
            return [value.numpy() for value in emulated(*(tf.constant(value) for value in values))]

        return run

    def _run(self, ours: Arrays, theirs: Arrays) -> None:
        self._batches.append((ours, theirs))
        self._given.append(self._run_source(ours))
        self._made.append(self._run_target(theirs))

    def _repeat(self, ours: Arrays, theirs: Arrays) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Raise for a model that is not a function of its inputs; the random samples that the outputs depend on."""
        few = few_rows(self._source, ours, self._given[0], self._options)
        trial = ours if few is None else few
        first = self._source.run(trial) if few is not None or self._options.emulate_tpu else self._given[0]
        if not (isinstance(self._source, DirectRunner) and self._source.is_function(trial)):
            check_repeatable(self._source, trial, first, self._source.run(trial))
        drawn = []
        for runner, arrays in ((self._source, trial), (self._target, theirs)):
            draws = runner.draws(arrays)
            if draws and runner is self._target:
                check_repeatable(runner, arrays, runner.run(arrays), runner.run(arrays))
            drawn.append(samples(runner, arrays, runner.run(arrays)) if draws else ())
        return drawn[0], drawn[1]

    def _tell_samples(self, drawn: tuple[tuple[str, ...], tuple[str, ...]], *, passed: bool) -> None:
        if not any(drawn):
            return
        if not passed and drawn[0] != drawn[1]:
            refuse_other_samples(self._source, self._target)
        self._notes.append("the models draw random numbers; both were given the same samples")

    def _measure_noise(self, arrays: Arrays) -> list[float]:
        """What rounding alone changes in the source's outputs, at the precision that is worked in."""
        source, options = self._source, self._options
        if options.emulate_tpu:
            # What bfloat16 operands change against float32 ones is the very noise that such a device adds.
            plain = source.run(arrays)
            return noise_floor(lambda _weights, _inputs: plain, (), (), self._given[0], seed=options.seed)
        outputs: Arrays = self._given[0]
        few = few_rows(source, arrays, outputs, options)
        if few is not None:
            arrays, outputs = few, source.run(few)
        weights = source.weights()
        assign = source.give if isinstance(source, DirectRunner) else source.assign

        def run(moved: Arrays, inputs: Arrays) -> list[np.ndarray]:
            assign(moved)
            return source.run(inputs)

        ulps = _HALF_BFLOAT16 if any(title.startswith("TPU") for title in options.devices) else 1
        with keeping(source, weights):
            return noise_floor(run, weights, arrays, outputs, seed=options.seed, ulps=ulps, limits=self._limits())

    def _limits(self) -> list[bool]:
        """For each input of the source, whether it holds indices, which rounding does not move."""
        return [spec.limit is not None for spec in self._source.inputs]

    def _compare(self) -> tuple[OutputComparison, ...]:
        return compare(
            self._source,
            self._target,
            self._pairing,
            joined(self._given),
            joined(self._made),
            self._floors,
            self._options,
        )

    def _refuse_empty(self) -> None:
        """Raise when no output that agrees says anything; note those that do not.

        Raises:
            ModelError: see `why_empty`.
        """
        values = joined(self._given)
        reasons = {}
        for part in dict.fromkeys(ours.output for ours, _ in self._pairing.pairs):
            name = self._source.outputs[part]
            tolerance = FACTOR * self._floors[part]
            reason = why_empty(values[part], tolerance, takes_inputs=bool(self._sharing.specs))
            count = not_finite(values[part])
            if reason is not None:
                reasons[name] = reason
            elif count:
                self._notes.append(
                    f"{count:,} of {values[part].size:,} values of {name} are NaN or infinite on both sides"
                )
        told = [f"output {name} {reason}" for name, reason in reasons.items()]
        if len(reasons) == len({ours.output for ours, _ in self._pairing.pairs}):
            raise ModelError(
                f"nothing can be concluded: {'; '.join(told[:4])}", key=self._source.name,
                hint="Give inputs that the model answers differently with --inputs, or another output.",
            )  # fmt: skip
        self._notes += [f"{text}, and proves nothing" for text in told]

    def _compare_wide(
        self, ours: list[list[np.ndarray]], theirs: list[list[np.ndarray]]
    ) -> tuple[OutputComparison, ...]:
        """Where both compute in the same half precision: the outputs in float32, which tells errors from rounding."""
        if self._options.emulate_tpu or not self._options.calibrated:
            return ()
        kinds = self._source.half_precision(ours[0]), self._target.half_precision(theirs[0])
        if not any(kinds):
            return ()
        why = f"only one side computes in {kinds[0] or kinds[1]}"
        if kinds[0] is not None and kinds[0] == kinds[1]:
            from ckptkit.verification.comparing_wide import compare_wide
            from ckptkit.verification.widen import CannotWiden

            try:
                return compare_wide(self._source, self._target, self._pairing, ours, theirs, kinds[0], self._options)
            except CannotWiden as error:
                why = f"the graph cannot be computed in float32: {error}"
        elif all(kinds):
            why = f"one side computes in {kinds[0]}, the other in {kinds[1]}"
        if any(is_coarse(self._given[0][a.output], FACTOR * self._floors[a.output]) for a, _ in self._pairing.pairs):
            self._notes.append(f"an error of one per cent in a kernel cannot be told from rounding ({why})")
        return ()

    def _explore(
        self,
        ours: list[list[np.ndarray]],
        theirs: list[list[np.ndarray]],
        wide: Sequence[OutputComparison],
        spent: float,
    ) -> Coverage:
        """Which weights the outputs follow; draws more batches, which are compared too, while that tests more."""
        options = self._options
        tolerances = [
            tolerance_of(wide[i].floor if wide else self._floors[a.output], options)
            for i, (a, _) in enumerate(self._pairing.pairs)
        ]
        rows = few_rows(self._source, ours[0], self._given[0], options)
        alike = rows is not None and few_rows(self._target, theirs[0], self._made[0], options) is not None
        count = len(rows[0]) if rows and alike else None

        def cut(arrays: Arrays) -> Arrays:
            return arrays if count is None else [array[:count] for array in arrays]

        smallest = min((t for t in tolerances if t), default=0.0)
        factors = (
            random_factors(cut(self._given[0]), tolerances, smallest, self._pairing, 0),
            random_factors(cut(self._made[0]), tolerances, smallest, self._pairing, 1),
        )
        explorer = Explorer(self._source, self._target, factors, smallest, self._check_values, spent)
        for a, b in zip(ours, theirs, strict=True):
            explorer.add(cut(a), cut(b))
            found = explorer.coverage()
            if not found.untested:
                break
        if found.untested and options.made_up:

            def draw() -> tuple[Arrays, Arrays]:
                batch = made_batch(self._sharing, options, len(self._given))
                more = [batch[i] for i in self._sharing.source], [batch[i] for i in self._sharing.target]
                self._run(*more)
                return cut(more[0]), cut(more[1])

            found = explorer.draw_more(draw)
        if found.untested:
            found = explorer.probe(found, theirs[0], moved_by(self._target, self._pairing, theirs[0], tolerances))
        return found

    def _tell_untested(self, coverage: Coverage) -> None:
        if coverage.untested:
            count, total = len(coverage.untested), sum(coverage.weights)
            self._notes.append(
                f"{count:,} of both sides' {total:,} weights are untested: a wrong value there moves no output"
            )
        if coverage.by_value:
            count = len(coverage.by_value)
            noun = "weight" if count == 1 else "weights"
            self._notes.append(f"outputs do not follow every element of {count:,} {noun}; compared by value: equal")

    def _worst(self) -> int:
        """The batch whose outputs differ most, in units of the noise: a row of a table may be looked up in one batch alone."""
        pairs = [(a, b, self._floors[a.output] or 1.0) for a, b in self._pairing.pairs]

        def apart_by(given: Arrays, made: Arrays) -> float:
            parts = [(a.of(given), b.of(made), floor) for a, b, floor in pairs]
            return max(largest_difference(a, b) / floor if a.shape == b.shape else math.inf for a, b, floor in parts)

        apart = [apart_by(given, made) for given, made in zip(self._given, self._made, strict=True)]
        return apart.index(max(apart))

    def _locate(self, ours: Arrays, theirs: Arrays) -> Divergence | None:
        if self._source.live() is None or self._target.live() is None:
            self._notes.append(
                "layers are compared between live models only; name both with --src-model and --dst-model"
            )
            return None
        from ckptkit.verification.localise import can_watch, first_divergence

        if not (can_watch(self._source) and can_watch(self._target)):
            self._notes.append("a bare function shows no layers, so that nothing tells where the models part")
            return None
        found = first_divergence(self._source, self._target, ours, theirs)
        if found is None:
            self._notes.append(
                "no single layer parts: the models differ between their layers (order, merge, activation)"
            )
        return found
