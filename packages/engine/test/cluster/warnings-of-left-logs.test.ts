import { CairnError } from "@cairn/kv";
import { expect, it } from "vitest";
import type { System } from "../../src/api/system.ts";
import { LogWatch } from "../../src/node/log-watch.ts";
import type { NodeLife } from "../../src/node/node-life.ts";

const UNSAFE = new CairnError("LOG_UNSAFE", "The stream holds at most 3 messages.", "Change it.");
const AWAY = new CairnError("LOG_UNREACHABLE", "The connection is down.", "Wait.");

/** A node that follows a log, as far as its watch looks at it. */
function following(inspect: () => Promise<readonly CairnError[]>) {
  const life = { log: { name: "cairn", inspect }, identity: { id: "one" }, agrees: true, report: {} };
  return { life, watch: new LogWatch({} as System, life as unknown as NodeLife) };
}

it("warnings of a log are not reported while the node has left it, and are again once it follows it", async () => {
  let isAway = false;
  const { life, watch } = following(() => (isAway ? Promise.reject(AWAY) : Promise.resolve([UNSAFE])));
  await watch.look();
  const reported = [{ code: "LOG_UNSAFE", message: UNSAFE.message }];
  expect(watch.warnings).toMatchObject(reported);
  isAway = true;
  await watch.look();
  expect(watch.warnings).toMatchObject(reported);
  life.agrees = false;
  expect(watch.warnings).toEqual([]);
  await watch.look();
  expect(watch.warnings).toEqual([]);
  life.agrees = true;
  expect(watch.warnings).toMatchObject(reported);
  life.identity = { id: "two" };
  expect(watch.warnings).toEqual([]);
});

it("warnings of a log that the node does not follow yet are reported", async () => {
  const { life, watch } = following(() => Promise.resolve([UNSAFE]));
  life.agrees = false;
  await watch.look();
  expect(watch.warnings).toMatchObject([{ code: "LOG_UNSAFE" }]);
});
