import { expect, it } from "vitest";
import { completeCommands, withCommands } from "../src/printed-commands.ts";

const complete = (text: string): string =>
  completeCommands(text, (words) => `cd /d && A=1 cairn ${words} -f c.json`);

const atNode = (text: string): string => completeCommands(text, (words) => `cairn ${words} --url URL`);

it.each([
  ["Run cairn log orphans > FILE.", "Run cd /d && A=1 cairn log orphans -f c.json > FILE"],
  ["Run cairn status --wait PT30S.\nEnd.", "Run cd /d && A=1 cairn status -f c.json --wait PT30S\nEnd."],
  ["cairn status shows it.", "cd /d && A=1 cairn status -f c.json shows it."],
  ["`cairn log backup prune --lost`", "`cd /d && A=1 cairn log backup prune -f c.json --lost`"],
  [
    "cairn status, or cairn checkpoint create --url URL (that of a node)",
    "cd /d && A=1 cairn status -f c.json, or cairn checkpoint create --url URL (that of a node)",
  ],
  [
    "release it: echo '{}' | cairn tx submit -",
    "release it: echo '{}' | (cd /d && A=1 cairn tx submit -f c.json -)",
  ],
])("the commands in %j are completed", (text, completed) => {
  expect(complete(text)).toBe(completed);
});

it.each([
  'nats stream edit X --description "cairn log id 7"',
  "cairn.log-backup/->tx-log",
  "As cairn start does.",
])("%j names no command", (text) => {
  expect(complete(text)).toBe(text);
});

it.each(["Run cairn log recover --yes, then cairn status.", "echo 1 | cairn tx submit -"])(
  "a text that was completed stays as it is",
  (text) => {
    expect(complete(complete(text))).toBe(complete(text));
    expect(atNode(atNode(text))).toBe(atNode(text));
  },
);

it("what stands for a configuration that is no file is explained once, in the hints of any value", () => {
  const given = {
    a: [{ hint: "Run cairn log status, then cairn log trim." }],
    hint: null,
    at: new Date(0),
    n: 1,
  };
  expect(withCommands(given, (words) => `cairn ${words} -j CONFIGURATION`)).toEqual({
    ...given,
    a: [
      {
        hint: "Run cairn log status -j CONFIGURATION, then cairn log trim -j CONFIGURATION (CONFIGURATION stands for what the node was configured with by its program, or with -e or -j.)",
      },
    ],
  });
});
