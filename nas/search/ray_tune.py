"""The Ray Tune executor: adapters between Tune and the driver, which alone decides.

A Searcher hands out the driver's jobs, a TrialScheduler passes every result to the driver and obeys it, a Trainable
runs one epoch a step in a worker process that is used again for the next trial. Tune's own loggers, checkpoints and
restore are off: Ray holds no state that matters (their cost: DESIGN, section 5).
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from nas.errors import NasError
from nas.evaluation import Evaluator, Job, Progress
from nas.search.driver import Driver
from nas.search.guard import guarded, log_traceback

log = logging.getLogger("nas")

_TERMINATED = 10.0      # seconds that Ray is given to end after SIGTERM
_LOST = ("its node has died", "is unavailable")     # what Ray says of a worker that went with its machine


def run_ray(
    driver: Driver, evaluate: Evaluator, workers: int, cpus: float = 1.0, gpus: float = 0.0, address: str | None = None
) -> None:
    """Run `driver`'s study on Ray until it is finished. Ctrl-C stops cleanly and raises KeyboardInterrupt."""
    folder = tempfile.TemporaryDirectory(prefix="nas-tune-")
    with _ray(workers * cpus, address), folder as scratch, _interrupts(driver) as hit:
        if address is not None:     # its machines may have fewer cores than this one
            cpus = min(cpus, _fewest_cores())
            driver.threads = max(1, int(cpus))
        searcher = _Searcher(driver)
        trainable = tune.with_resources(
            tune.with_parameters(_Trainable, evaluate=evaluate), {"cpu": cpus, "gpu": gpus})
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher, scheduler=_Scheduler(driver, searcher), num_samples=-1,
                max_concurrent_trials=workers, reuse_actors=True, trial_name_creator=_short_name,
                trial_dirname_creator=_short_name),
            run_config=tune.RunConfig(
                name="tune", storage_path=scratch, verbose=0, callbacks=[_DropWeights()],
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                stop=_Stopper(driver)),
        )
        try:
            tuner.fit()
        except Exception as error:      # Tune wraps what our parts raise, in errors of several kinds
            ours = _ours(error)
            if ours is None:
                raise
            raise ours from error
    if hit.is_set():
        raise KeyboardInterrupt


def _ours(error: BaseException) -> NasError | None:
    """The error of the driver or its database, where that is what lies behind `error`."""
    behind: BaseException | None = error
    while behind is not None and not isinstance(behind, NasError):
        behind = behind.__cause__ or behind.__context__
    return behind


@contextmanager
def _ray(cpus: float, address: str | None) -> Iterator[None]:
    """A Ray cluster: the one at `address`, or one of our own on loopback with token authentication."""
    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    try:
        if address is not None:
            ray.init(address=address, **quiet)
        else:
            ray.init(           # "local": one of our own, also where the machine is part of a cluster
                address="local", num_cpus=max(1, round(cpus)), include_dashboard=False,
                _node_ip_address="127.0.0.1", **quiet)
    except (ConnectionError, TimeoutError, RuntimeError, ValueError) as error:
        what = " ".join(str(error).split())[:300]
        raise NasError(f"Ray did not start: {what}; use --executor local to do without it") from error
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)        # of a worker's end, our own log tells
    try:
        yield
    finally:
        ray.shutdown()


@contextmanager
def _interrupts(driver: Driver) -> Iterator[threading.Event]:
    """The first Ctrl-C (or SIGTERM) asks the driver to stop; the second one is Python's own."""
    hit, over = threading.Event(), threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield hit
        return
    before = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: Any) -> None:
        hit.set()
        driver.stop()
        signal.signal(number, before[number])
        if number == signal.SIGTERM:
            threading.Thread(target=leave, daemon=True).start()

    def leave() -> None:
        """What ends us may have ended Ray's processes before: Tune then waits for them, and Ray for a minute."""
        if not over.wait(_TERMINATED):
            log.error("terminated, and Ray does not answer: left without it; the same command goes on")
            print("nas: terminated; the same command goes on", file=sys.stderr, flush=True)
            os._exit(128 + signal.SIGTERM)

    for number in before:
        signal.signal(number, stop)
    try:
        yield hit
    finally:
        over.set()
        for number, handler in before.items():
            signal.signal(number, handler)


class _Handle:
    """Holds the driver. Tune pickles what it is given, for a restore that is never used: nothing goes along."""

    def __init__(self, driver: Driver | None = None):
        self._driver = driver

    def __call__(self) -> Driver:
        assert self._driver is not None
        return self._driver

    def __reduce__(self) -> tuple[type[_Handle], tuple[()]]:
        return _Handle, ()

    def __deepcopy__(self, memo: dict[int, Any]) -> _Handle:
        return self


class _Searcher(Searcher):
    """Hands out the driver's jobs as Tune trials."""

    def __init__(self, driver: Driver):
        super().__init__(metric="epoch", mode="max")
        self.driver = _Handle(driver)
        self.numbers: dict[str, int] = {}       # Tune's trial id -> ours, while it runs
        self.error = ""         # of the worker that died last

    def suggest(self, trial_id: str) -> dict[str, str] | str | None:  # type: ignore[override]
        job = self.driver().next_job()
        if job is None:
            return Searcher.FINISHED if self.driver().finished else None
        self.numbers[trial_id] = job.number
        return {"job": job.to_json()}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        number = self.numbers.pop(trial_id, None)
        if error and number is not None:
            self.driver().crashed(number, self.error, lost=any(words in self.error for words in _LOST))

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the database is the state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the database is the state."""


class _Scheduler(FIFOScheduler):
    """Passes every result on to the driver and does what it says."""

    def __init__(self, driver: Driver, searcher: _Searcher):
        super().__init__()  # type: ignore[no-untyped-call]
        self.driver, self.searcher = _Handle(driver), searcher

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        number = self.searcher.numbers.get(trial.trial_id)
        if number is None:
            return str(TrialScheduler.STOP)
        log_traceback(number, result.pop("traceback", ""))
        values = {name: result.get(name) for name in _FIELDS}
        progress = Progress(**{**values, "done": result["finished"]})
        return str(TrialScheduler.CONTINUE if self.driver().report(number, progress) else TrialScheduler.STOP)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self.searcher.error = _why(trial)
        log.error("the worker of trial %s died: %s", self.searcher.numbers.get(trial.trial_id), self.searcher.error)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """The first trial that waits for a place may have a free worker; one whose own worker starts waits for that.

        Tune would end the worker that starts: where trainings end faster than workers start, none would ever be added.
        """
        actors, started = tune_controller._trial_to_actor, tune_controller._actor_manager.is_actor_started
        pending = (trial for trial in tune_controller.get_trials() if trial.status == Trial.PENDING)
        return next((trial for trial in pending if trial not in actors or not started(actors[trial])), None)


class _DropWeights(tune.Callback):
    """Takes the weights out of a result once the driver has had them, so that Tune does not keep them."""

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        result.pop("weights", None)


class _Stopper(tune.Stopper):
    """Ends the experiment when the driver is ending."""

    def __init__(self, driver: Driver):
        self.driver = _Handle(driver)

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.driver().ending


class _Trainable(tune.Trainable):
    """A worker: one epoch of a job a step."""

    def setup(self, config: dict[str, Any], evaluate: Evaluator | None = None) -> None:
        assert evaluate is not None
        self._evaluate = evaluate
        self._steps = guarded(evaluate, Job.from_json(config["job"]))

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._steps = guarded(self._evaluate, Job.from_json(new_config["job"]))
        return True

    def step(self) -> dict[str, Any]:
        progress, trace = next(self._steps)
        if "CUDA error" in trace:       # this process can use its GPU no more: another one goes on
            raise RuntimeError(progress.failure)
        result = asdict(progress) | {"traceback": trace}
        result["finished"] = result.pop("done")     # Tune must not act on it before the driver has
        return result

    def cleanup(self) -> None:
        """The last job is over, too."""
        self._steps.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: what is worth keeping is in the driver's hands."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing."""


_FIELDS = tuple(Progress.__dataclass_fields__)


def _why(trial: Any) -> str:
    """What Ray says of a worker's end, without its names for the worker.

    From where Tune writes it: `get_pickled_error` looks where it is copied to later.
    """
    try:
        lines = Path(trial.error_file or "").read_text().splitlines()[1:]       # the first one counts the failures
    except OSError:
        return "Ray does not say why"
    return " ".join(" ".join(line for line in lines if not line.startswith("\t")).split())[:300]


def _fewest_cores() -> float:
    """CPUs of the machine of the cluster that has the fewest, of those that have any."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    found = [float(node["Resources"].get("CPU", 0.0)) for node in nodes if node["Alive"]]
    return min((cores for cores in found if cores >= 1), default=1.0)


def _short_name(trial: Any) -> str:
    return str(trial.trial_id)
