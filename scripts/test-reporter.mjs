// Vitest's reporter, with five differences: tests of the other tier do not count as skipped; tests skipped for want of
// something are counted with what they want; the slowest files are listed; so are tests that passed at their second
// try, with the error of the first; and so are tests that began and have no result, because their process ended.
import { createTagsFilter } from "@vitest/runner/utils";
import { DefaultReporter } from "vitest/node";

const SLOWEST = 20;

const seconds = (module) => module.diagnostic().duration / 1_000;

export class TierReporter extends DefaultReporter {
  #isSelected = () => true;
  #wanting;
  #flaky = [];
  #running = new Set();

  /** `missing` are those of scripts/test-needs.mjs that this machine lacks. */
  constructor(missing) {
    super();
    this.#wanting = new Map(missing.map((need) => [need, 0]));
  }

  onInit(vitest) {
    super.onInit(vitest);
    const { tags, tagsFilter } = vitest.config;
    if (tagsFilter !== undefined) this.#isSelected = createTagsFilter(tagsFilter, tags);
  }

  onTestCaseReady(test) {
    super.onTestCaseReady(test);
    this.#running.add(test);
  }

  onTestCaseResult(test) {
    super.onTestCaseResult(test);
    this.#running.delete(test);
    if (test.diagnostic()?.flaky === true) this.#flaky.push(test);
  }

  onTestModuleEnd(module) {
    this.#prune(module.task);
    if (module.task.tasks.length > 0 || module.state() === "failed") super.onTestModuleEnd(module);
  }

  onTestRunEnd(modules, errors, reason) {
    const run = modules.filter((module) => module.task.tasks.length > 0 || module.state() === "failed");
    super.onTestRunEnd(run.length > 0 ? run : modules, errors, reason);
    this.#reportSlowest(run);
    for (const { module, fullName, task } of this.#flaky) {
      this.log(`Passed only at the second try: ${module.relativeModuleId} > ${fullName}`);
      for (const { stack, message } of task.result?.errors ?? []) this.log(stack ?? message);
    }
    for (const test of this.#running) {
      // The event of a result can be missing although there is one.
      if (test.result().state !== "pending") continue;
      const { module, fullName } = test;
      this.log(
        `Error: no result, perhaps because its process ended: ${module.relativeModuleId} > ${fullName}`,
      );
    }
    for (const [{ needed, remedy }, count] of this.#wanting)
      if (count > 0) this.log(`${count} tests were skipped for want of ${needed} (${remedy}).`);
  }

  /** Removes the tests that the filter leaves out, and counts those that want a program. */
  #prune(suite) {
    suite.tasks = suite.tasks.filter((task) => {
      if (task.type === "suite") {
        this.#prune(task);
        return task.tasks.length > 0;
      }
      if (!this.#isSelected(task.tags ?? [])) return false;
      for (const [need, count] of this.#wanting)
        if (task.tags?.includes(need.tag)) this.#wanting.set(need, count + 1);
      return true;
    });
  }

  #reportSlowest(modules) {
    const slowest = modules.toSorted((a, b) => seconds(b) - seconds(a)).slice(0, SLOWEST);
    this.log(`The ${slowest.length} slowest files, in seconds:`);
    for (const module of slowest)
      this.log(`${seconds(module).toFixed(1).padStart(8)}  ${module.relativeModuleId}`);
  }
}
