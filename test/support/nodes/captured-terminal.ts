import { EventEmitter } from "node:events";
import { Readable, Writable } from "node:stream";
import { runCli } from "@cairn/cli/src/run-cli";
import type { Output, Terminal } from "@cairn/cli/src/terminal/terminal";

/** An output that keeps everything that is written to it. */
export class CapturedOutput extends Writable implements Output {
  readonly isTTY: boolean;
  columns = 80;
  text = "";

  constructor(isTTY: boolean) {
    super({ decodeStrings: false });
    this.isTTY = isTTY;
  }

  override _write(chunk: string | Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

/** A terminal for commands that run in the test's own process. */
export class CapturedTerminal implements Terminal {
  readonly stdin: Readable & { readonly isTTY: boolean };
  readonly stdout: CapturedOutput;
  readonly stderr: CapturedOutput;
  readonly env: Record<string, string | undefined>;
  readonly cwd: string;
  readonly signals = new EventEmitter();
  forcedExit: number | undefined;

  constructor(
    options: {
      stdin?: string;
      isTTY?: boolean;
      env?: Record<string, string | undefined>;
      cwd?: string;
    } = {},
  ) {
    const stdin = Readable.from(options.stdin === undefined ? [] : [Buffer.from(options.stdin)]);
    this.stdin = Object.assign(stdin, { isTTY: options.isTTY === true });
    this.stdout = new CapturedOutput(options.isTTY === true);
    this.stderr = new CapturedOutput(options.isTTY === true);
    this.env = options.env ?? {};
    this.cwd = options.cwd ?? process.cwd();
  }

  onSignal(signals: readonly NodeJS.Signals[], listener: (signal: NodeJS.Signals) => void): () => void {
    for (const signal of signals) this.signals.on(signal, listener);
    return () => {
      for (const signal of signals) this.signals.off(signal, listener);
    };
  }

  /** Sends a signal, as the system would. */
  signal(signal: NodeJS.Signals): void {
    this.signals.emit(signal, signal);
  }

  forceExit(code: number): void {
    this.forcedExit = code;
  }
}

/** The output of a command, and its exit code. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command in this process. */
export async function cairn(
  argv: readonly string[],
  terminal: CapturedTerminal = new CapturedTerminal(),
): Promise<CommandResult> {
  const code = await runCli(argv, terminal);
  return { code, stdout: terminal.stdout.text, stderr: terminal.stderr.text };
}
