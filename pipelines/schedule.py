"""When each step of a pipeline has its turn: after what it needs, and beside what is independent of it."""

from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from graphlib import TopologicalSorter

from unlatent.pipelines import attempts
from unlatent.pipelines.deciding import Decision, decide
from unlatent.pipelines.definition import Step
from unlatent.pipelines.execution import Execution
from unlatent.pipelines.steps import ACTIONS
from unlatent.pipelines.trying import one_line, try_step
from unlatent.platform import cluster
from unlatent.platform.display import say


class Schedule:
    """Takes every step of an execution to its end: ran, skipped, failed or not run."""

    def __init__(self, execution: Execution, limit: int) -> None:
        self.execution, self.limit = execution, limit
        self.sorter = TopologicalSorter({step.name: step.needs for step in execution.pipeline.steps.values()})
        self.waiting: list[tuple[Step, str]] = []  # to be started, with why they run
        self.running: dict[Future[None], Step] = {}
        self.threads = ThreadPoolExecutor(limit)

    def carry_out(self) -> None:
        """A step that nothing can run beside has the main thread, where Ctrl-C arrives; several have threads."""
        self.sorter.prepare()
        try:
            while self.sorter.is_active():
                self.look_at_ready()
                chosen = self.choose()
                if len(chosen) == 1 and not self.running:
                    try_step(self.execution, *chosen[0])
                    self.sorter.done(chosen[0][0].name)
                else:
                    self.start(chosen)
                    self.wait_for_one()
        except BaseException:
            self.execution.stop()
            if self.running:
                cluster.disconnect()  # without Ray, what is under way ends
            raise
        finally:
            self.threads.shutdown(wait=False, cancel_futures=True)

    def look_at_ready(self) -> None:
        while ready := self.sorter.get_ready():  # the end of one may make others ready
            for name in ready:
                step = self.execution.pipeline.steps[name]
                if why := self.reason_or_end(step):
                    self.waiting.append((step, why))
                else:
                    self.sorter.done(name)

    def reason_or_end(self, step: Step) -> str | None:
        """Why a step whose needs have ended has to run; None for one that ends here."""
        missing = [need for need in step.needs if need not in self.execution.done]
        if missing:
            ended = self.execution.outcomes
            words = {need: "was not run" if ended[need] == "not_run" else "failed" for need in missing}
            self.end(step, "not_run", "; ".join(f"{need}, which it needs, {word}" for need, word in words.items()))
            return None
        decision = self.decision_on(step)
        if decision is None:
            return None
        if decision.runs:
            say(f"{step.name}: runs, {decision.why}")
            return decision.why
        self.end(step, "skipped", decision.why, self.execution.done[step.name].key)
        return None

    def decision_on(self, step: Step) -> Decision | None:
        try:
            return decide(self.execution, step)
        except Exception as error:  # what it has left cannot be read: the other steps go on
            self.fail(step, error)
            return None

    def end(self, step: Step, outcome: str, why: str, key: str | None = None) -> None:
        """Ends a step that is not tried."""
        say(f"{step.name}: {outcome.replace('_', ' ')}, {why}")
        self.execution.outcomes[step.name] = outcome
        attempts.note(self.execution.store, self.execution.pipeline.name, step.name, outcome, why, key)

    def fail(self, step: Step, error: Exception) -> None:
        self.execution.failures.append(f"step {step.name} failed: {one_line(error)}")
        self.end(step, "failed", one_line(error))

    def choose(self) -> list[tuple[Step, str]]:
        """Takes out of those waiting what may start now.

        On a Ray of this machine's own, steps that work there take turns: a training takes all its CPUs, and would wait
        in vain beside another one. A cluster that is joined has room for several, or queues them itself. So do steps
        that compute in this process: one would draw from the other's random numbers.
        """
        chosen: list[tuple[Step, str]] = []
        for each in list(self.waiting):
            others = [*self.running.values(), *(step for step, _ in chosen)]
            taken = {turn for other in others for turn in self.turns(other)}
            if len(others) < self.limit and not taken & self.turns(each[0]):
                self.waiting.remove(each)
                chosen.append(each)
        return chosen

    def turns(self, step: Step) -> set[str]:
        """What a step needs for itself."""
        action, address = ACTIONS[step.run], self.execution.configs[step.name].cluster.address
        return ({"ray"} if action.on_ray and address is None else set()) | ({"torch"} if action.in_torch else set())

    def start(self, chosen: list[tuple[Step, str]]) -> None:
        for step, why in chosen:
            try:
                self.join_ray(step)
            except Exception as error:  # no cluster at that address, most likely: what needs none goes on
                self.fail(step, error)
                self.sorter.done(step.name)
            else:
                self.running[self.threads.submit(try_step, self.execution, step, why, beside=True)] = step

    def join_ray(self, step: Step) -> None:
        """For a step that runs in a thread: here, as two threads that join at the same time would each start a Ray."""
        if ACTIONS[step.run].on_ray:
            config = self.execution.configs[step.name]
            cluster.connect(config.cluster, config.store)

    def wait_for_one(self) -> None:
        if not self.running:
            return
        for future in wait(self.running, return_when=FIRST_COMPLETED).done:
            future.result()
            self.sorter.done(self.running.pop(future).name)
