import { Command } from "commander";
import { expect, it } from "vitest";
import { command, type CommandRun } from "../src/options/command.ts";
import { countValue, flag, repeatedValue, textValue } from "../src/options/option-specs.ts";
import { CapturedTerminal } from "@cairn/test-support/nodes/captured-terminal";

const OPTIONS = {
  atTx: countValue("<id>", "a transaction"),
  limit: countValue("<count>", "a limit", 10),
  name: textValue("<name>", "a name", "none"),
  where: repeatedValue("<condition>", "conditions"),
  all: flag("everything"),
  marks: { description: "no marks", negated: true },
};

/** Runs a command with these arguments, and returns its terminal. */
async function execute(
  argv: readonly string[],
  act: (run: CommandRun<object>, given: unknown[]) => Promise<void>,
): Promise<CapturedTerminal> {
  const terminal = new CapturedTerminal();
  const program = new Command("cairn").exitOverride();
  const add = command({
    syntax: "try <first> [others...]",
    description: "Try",
    examples: ["cairn try"],
    options: OPTIONS,
    act: (run, first, others) => act(run, [run.options, first, others]),
  });
  add(program, terminal);
  await program.parseAsync(["try", ...argv], { from: "user" });
  return terminal;
}

it("a command receives its arguments, and a value for each option", async () => {
  const received: unknown[] = [];
  const keep = (_run: unknown, given: unknown[]): Promise<void> => Promise.resolve(void received.push(given));
  await execute(["a"], keep);
  const defaults = { limit: 10, name: "none", all: false, marks: true };
  expect(received).toEqual([[defaults, "a", []]]);
  const given = ["--at-tx", "7", "--limit", "3", "--name", "n", "--where", "x", "--where", "y"];
  await execute(["a", "b", "c", ...given, "--all", "--no-marks", "--json"], keep);
  const values = { atTx: 7, limit: 3, name: "n", where: ["x", "y"], all: true, marks: false, json: true };
  expect(received[1]).toEqual([values, "a", ["b", "c"]]);
  await expect(execute(["a", "--at-tx", "0"], keep)).rejects.toThrow("--at-tx must be a whole number");
});

it("a run closes what it used, the last first, before it writes its answer", async () => {
  const steps: string[] = [];
  const terminal = await execute(["a"], async (run) => {
    for (const step of ["store", "node"]) run.defer(() => steps.push(step));
    run.interruptible("nothing was done");
    run.defer(() => steps.push(terminalOf(run).stdout.text));
    await run.answer({}, "done");
    steps.push(terminalOf(run).stdout.text);
  });
  expect(steps).toEqual(["", "node", "store", "done\n"]);
  expect(terminal.signals.listenerCount("SIGINT")).toBe(0);
});

it("a run closes everything even if something cannot be closed, and explains its error", async () => {
  const steps: string[] = [];
  const failing = execute(["a"], (run) => {
    run.defer(() => steps.push("first"));
    run.defer(() => Promise.reject(new Error("cannot be closed")));
    return Promise.resolve();
  });
  await expect(failing).rejects.toThrow("cannot be closed");
  expect(steps).toEqual(["first"]);
  const explained = execute(["a"], (run) => {
    run.explained = (error) => new Error("about the original", { cause: error });
    return Promise.reject(new Error("about the copy"));
  });
  await expect(explained).rejects.toThrow("about the original");
});

it("a signal aborts the work with the outcome that the run names", async () => {
  const interrupted = execute(["a"], (run) => {
    const signal = run.interruptible("nothing was done");
    terminalOf(run).signal("SIGTERM");
    expect(signal.aborted).toBe(true);
    run.throwIfInterrupted("half was done", "Run the command again.");
    return Promise.resolve();
  });
  await expect(interrupted).rejects.toMatchObject({ message: "Interrupted; half was done.", exitCode: 143 });
});

function terminalOf(run: CommandRun<object>): CapturedTerminal {
  return run.terminal as CapturedTerminal;
}
