import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Transaction } from "@cairn/client";
import { Ended, type Health, Refused, type Subject } from "./flip-subject.ts";
import type { Answer, Question } from "./question.ts";

const CHILD = fileURLToPath(new URL("../../../dist/test/faults/flips/host-child.js", import.meta.url));

/** A request to the process of a {@link NodeHost}. */
export interface HostRequest {
  readonly id: number;
  readonly folder: string;
  readonly call:
    | { readonly name: "start" | "checkpoint" | "health" | "stop" }
    | { readonly name: "submit"; readonly transaction: Transaction }
    | { readonly name: "ask"; readonly question: Question };
}

/** The response of the process. */
export interface HostReply {
  readonly id: number;
  readonly answer?: unknown;
  readonly refused?: { readonly code: string; readonly message: string };
  readonly error?: string;
}

interface Waiting {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

/**
 * A process that runs nodes one after another, which costs less than a process for each node. If it ends, a new one
 * replaces it.
 */
export class NodeHost {
  #child: ChildProcess | undefined;
  readonly #waiting = new Map<number, Waiting>();
  #last = 0;

  /** Starts a node on the files in `folder`. */
  async start(folder: string): Promise<Subject> {
    const ask = async <T>(call: HostRequest["call"]): Promise<T> => (await this.#ask(folder, call)) as T;
    await ask({ name: "start" });
    return {
      submit: (transaction) => ask({ name: "submit", transaction }),
      ask: (question) => ask<Answer>({ name: "ask", question }),
      checkpoint: () => ask({ name: "checkpoint" }),
      health: () => ask<Health>({ name: "health" }),
      stop: () => ask({ name: "stop" }),
    };
  }

  async close(): Promise<void> {
    const child = this.#child;
    if (child === undefined) return;
    const exited = once(child, "exit");
    child.disconnect();
    await exited;
  }

  async #ask(folder: string, call: HostRequest["call"]): Promise<unknown> {
    const child = this.#running(call.name === "start");
    this.#last += 1;
    const request: HostRequest = { id: this.#last, folder, call };
    return await new Promise((resolve, reject) => {
      this.#waiting.set(request.id, { resolve, reject });
      child.send(
        request,
        (error) => error !== null && this.#waiting.delete(request.id) && reject(new Ended("it ended")),
      );
    });
  }

  #running(mayStart: boolean): ChildProcess {
    if (this.#child !== undefined) return this.#child;
    if (!mayStart) throw new Ended("it ended before");
    const said: string[] = [];
    // The child runs the build, so it does not receive the conditions with which tests import sources.
    const child = fork(CHILD, {
      execArgv: [],
      stdio: ["ignore", "ignore", "pipe", "ipc"],
      serialization: "advanced",
    });
    child.stderr?.on("data", (chunk: Buffer) => said.push(chunk.toString()));
    child.on("message", (reply: HostReply) => this.#replied(reply));
    child.once("close", (code, signal) => {
      this.#child = undefined;
      const waiting = [...this.#waiting.values()];
      this.#waiting.clear();
      const reason = `${signal ?? code}: ${said.join("").trim()}`;
      for (const { reject } of waiting) reject(signal === null ? new Error(reason) : new Ended(reason));
    });
    this.#child = child;
    return child;
  }

  #replied({ id, answer, refused, error }: HostReply): void {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (refused !== undefined) waiting?.reject(new Refused(refused.code, refused.message));
    else if (error !== undefined) waiting?.reject(new Error(error));
    else waiting?.resolve(answer);
  }
}
