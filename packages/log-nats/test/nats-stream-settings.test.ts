import {
  DiscardPolicy,
  nanos,
  RetentionPolicy,
  StorageType,
  type StreamConfig,
  type StreamUpdateConfig,
} from "nats";
import { describe, expect, it } from "vitest";
import {
  REFUSED_SETTINGS,
  REPORTED_SETTINGS,
  streamSettings,
  unsafeSettings,
} from "../src/nats-stream-settings.ts";
import { documentedSettings } from "./nats-doc.ts";
import { namedEdit } from "../testing/nats-operator.ts";

/** Returns a stream as Cairn creates it and a server reports it, with some settings replaced. */
function streamWith(changes: Partial<StreamUpdateConfig> & object): StreamConfig {
  const made = streamSettings("cairn", 1, "0f9c7a1c-0000-4000-8000-000000000000");
  const server = { max_consumers: -1, max_msg_size: -1, sealed: false, first_seq: 0 };
  return { ...server, ...made, ...changes } as StreamConfig;
}

describe("the settings of a log's stream", () => {
  it("are safe if Cairn created the stream", () => {
    expect(unsafeSettings(streamWith({}))).toEqual([]);
  });

  it.each([
    ["retention", { retention: RetentionPolicy.Workqueue }],
    ["retention", { retention: RetentionPolicy.Interest }],
    ["mirror", { mirror: { name: "other" } }],
    ["other streams", { sources: [{ name: "other" }] }],
    ["sealed", { sealed: true }],
    ["acknowledges nothing", { no_ack: true }],
    // Debian's server does not know this setting; newer servers report it in this form.
    ["before they are stored", { persist_mode: "async" }],
    ["counters", { allow_msg_counter: true }],
    ["numbers its messages from 1000", { first_seq: 1_000, description: "made by others" }],
  ])("are refused if they lose acknowledged messages: %s, %j", (words, settings) => {
    expect(() => unsafeSettings(streamWith(settings))).toThrow(
      expect.objectContaining({ code: "CONFIG_INVALID", message: expect.stringContaining(words) }),
    );
  });

  it.each([
    [{ no_ack: true }, "nats stream edit cairn --ack corrects that."],
    [{ sources: [{ name: "other" }] }, "nats stream edit cairn --interactive"],
    [{ retention: RetentionPolicy.Interest }, "set retention to limits"],
    [{ mirror: { name: "lost" } }, "remove mirror, and set subjects to [cairn.tx]"],
    [{ sealed: true }, "nats stream rm cairn while the nodes run"],
  ])("are refused with their cure, because the stream may hold a log already: %j", (settings, cure) => {
    expect(() => unsafeSettings(streamWith(settings))).toThrow(
      expect.objectContaining({ hint: expect.stringContaining(cure) }),
    );
  });

  it.each([
    { discard: DiscardPolicy.Old },
    { max_age: nanos(1_000) },
    { max_msgs_per_subject: 10 },
    { deny_delete: false },
    { allow_rollup_hdrs: true },
    { duplicate_window: nanos(1_000) },
    { subjects: ["cairn.tx", "cairn.more"] },
    { subjects: ["cairn.*"] },
  ])("are reported, with the command that corrects them, if they may lose messages: %j", (settings) => {
    const told = unsafeSettings(streamWith(settings));
    expect(told).toMatchObject([{ code: "LOG_UNSAFE", hint: expect.any(String) }]);
    const { stream, settings: cured } = namedEdit(told[0]?.hint ?? "");
    expect(stream).toBe(streamWith({}).name);
    expect(unsafeSettings(streamWith({ ...settings, ...cured }))).toEqual([]);
  });

  it.each([{ max_msgs: 10 }, { max_bytes: 10 }])(
    "are reported if they limit a stream that discards old messages, but not if it refuses new ones: %j",
    (limit) => {
      const told = unsafeSettings(streamWith({ ...limit, discard: DiscardPolicy.Old }));
      expect(told).toMatchObject([{ message: /discards its oldest/ }, { message: /holds at most 10/ }]);
      const { settings } = namedEdit(told[1]?.hint ?? "");
      expect(unsafeSettings(streamWith({ discard: DiscardPolicy.Old, ...limit, ...settings }))).toHaveLength(
        1,
      );
      expect(unsafeSettings(streamWith({ ...limit, discard: DiscardPolicy.New }))).toEqual([]);
    },
  );

  it("are reported as refused writes if ordinary transactions are too large for the stream", () => {
    const told = unsafeSettings(streamWith({ max_msg_size: 100 }));
    expect(told).toMatchObject([{ code: "TX_TOO_LARGE", message: /more than 100 bytes/ }]);
    expect(told[0]?.hint).toContain("--max-msg-size=-1");
    for (const size of [-1, 1_048_576])
      expect(unsafeSettings(streamWith({ max_msg_size: size }))).toEqual([]);
  });

  it("cause a warning for storage in memory, which only a different stream can correct", () => {
    const told = unsafeSettings({ ...streamWith({}), storage: StorageType.Memory });
    expect(told).toMatchObject([{ code: "LOG_UNSAFE", hint: expect.stringContaining("Begin another log") }]);
  });

  it("cause a warning for messages that may expire, which only permissions or a different stream can correct", () => {
    // Debian's server does not know this setting; newer servers report it in this form.
    const config = { ...streamWith({}), allow_msg_ttl: true };
    const told = unsafeSettings(config);
    const hint = expect.stringMatching(/Permit only .* publish on cairn\.tx, or begin another log/) as string;
    expect(told).toMatchObject([{ code: "LOG_UNSAFE", message: /allow_msg_ttl/, hint }]);
  });

  it("match docs/nats.md, with the effect of each", () => {
    const documented = documentedSettings();
    const told = (word: string): string[] =>
      documented.filter(({ otherwise }) => otherwise.startsWith(word)).map(({ setting }) => setting);
    const refused = REFUSED_SETTINGS.map(({ setting }) => setting);
    const reported = REPORTED_SETTINGS.map(({ setting }) => setting);
    expect(told("refused").toSorted()).toEqual(refused.toSorted());
    expect(told("warning").toSorted()).toEqual(reported.toSorted());
    const made = Object.entries({ ...streamSettings("<stream>", 1, ""), duplicate_window: "2m" });
    for (const [setting, value] of made) {
      const row = documented.find((one) => one.setting === setting);
      if (row !== undefined) expect(row.made).toBe(String(value));
    }
  });
});
