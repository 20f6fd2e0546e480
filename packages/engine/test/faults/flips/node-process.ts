import { spawn } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { type Subject } from "./flip-subject.ts";
import { HttpSubject } from "./http-subject.ts";

const CAIRN = fileURLToPath(new URL("../../../../cli/dist/bundle/main.js", import.meta.url));

/** A configuration whose scrub finds a change within seconds. */
const SCRUBBED = JSON.stringify({ "cairn/index-store": { "kv-store": { "scrub-every": "PT1S" } } });

/**
 * Runs `cairn start` on the files in `folder`, like a user. The files are in the places in which node-host.ts left
 * them.
 */
export async function startProcess(folder: string): Promise<Subject> {
  const child = spawn(process.execPath, [CAIRN, "start", "-j", SCRUBBED], {
    env: {
      ...process.env,
      CAIRN_NODE_ID: "a",
      CAIRN_DIR: folder,
      CAIRN_CHECKPOINT_PATH: path.join(folder, "checkpoints"),
      CAIRN_HTTP_PORT: "0",
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const closed = once(child, "close");
  const said: string[] = [];
  child.stderr.on("data", (chunk: Buffer) => said.push(chunk.toString()));
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      const found = /"url":"(http:[^"]+)"/.exec(line)?.[1];
      if (found !== undefined) resolve(found);
    });
    void closed.then(() => reject(new Error(`The node did not start: ${said.join("")}`)));
  });
  return new HttpSubject(url, async () => {
    child.kill("SIGTERM");
    await closed;
  });
}
