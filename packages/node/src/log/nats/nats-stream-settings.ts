import { CairnError } from "@cairn/kv";
import { DiscardPolicy, nanos, RetentionPolicy, StorageType, type StreamConfig } from "nats";
import { MESSAGE_ID_WINDOW_MS } from "../message-id-memory.ts";

const DESCRIBED_ID = /cairn log id ([0-9a-f-]{36})/;

/** The log id that a stream's description carries. */
export function describedLogId(description: string | undefined): string | undefined {
  return DESCRIBED_ID.exec(description ?? "")?.[1];
}

/** `description` with the log id in it, in place of another one. */
export function describeLogId(logId: string, description = ""): string {
  if (DESCRIBED_ID.test(description)) return description.replace(DESCRIBED_ID, `cairn log id ${logId}`);
  return description === "" ? `cairn log id ${logId}` : `${description} (cairn log id ${logId})`;
}

/** The settings of a stream that loses nothing by itself. */
export function streamSettings(
  name: string,
  replicas: number,
  logId: string,
): Partial<StreamConfig> & { name: string } {
  return {
    name,
    subjects: [`${name}.tx`],
    description: describeLogId(logId),
    storage: StorageType.File,
    retention: RetentionPolicy.Limits,
    // "old" would drop messages that no node has read yet; "new" answers the writer with an error.
    discard: DiscardPolicy.New,
    max_msgs: -1,
    max_bytes: -1,
    max_age: 0,
    max_msgs_per_subject: -1,
    num_replicas: replicas,
    duplicate_window: nanos(MESSAGE_ID_WINDOW_MS),
    // A hole would end every reading. It cannot be taken back, so nothing that a log ever needs may depend on deleting.
    deny_delete: true,
    allow_rollup_hdrs: false,
    allow_direct: true,
  };
}

/** What is unsafe about an existing stream, in sentences. Throws `CONFIG_INVALID` when it cannot be a log at all. */
export function unsafeSettings(config: StreamConfig): string[] {
  const unusable =
    config.retention !== RetentionPolicy.Limits
      ? `it removes messages once they were read (retention "${config.retention}")`
      : config.mirror !== undefined
        ? "it is a mirror, which cannot be written to"
        : config.sources !== undefined && config.sources.length > 0
          ? "it takes messages from other streams"
          : config.sealed
            ? "it is sealed"
            : config.no_ack === true
              ? "it acknowledges nothing"
              : undefined;
  if (unusable !== undefined) {
    throw new CairnError("CONFIG_INVALID", `The stream "${config.name}" cannot be a log: ${unusable}.`, {
      hint: "Name another stream; Cairn makes one with the right settings when there is none.",
    });
  }
  const stream = `The stream "${config.name}"`;
  const notices: [unsafe: boolean, sentence: string][] = [
    [config.storage !== StorageType.File, `${stream} is kept in memory: it is lost when its servers stop.`],
    [config.discard !== DiscardPolicy.New, `${stream} discards its oldest messages when it is full.`],
    [config.max_age > 0, `${stream} removes messages by their age.`],
    [config.max_msgs > 0, `${stream} holds at most ${config.max_msgs} messages.`],
    [config.max_bytes > 0, `${stream} holds at most ${config.max_bytes} bytes.`],
    [config.max_msgs_per_subject > 0, `${stream} limits the messages of a subject.`],
    [!config.deny_delete, `${stream} lets single messages be deleted, which leaves holes.`],
    [config.allow_rollup_hdrs, `${stream} lets one message replace all before it.`],
    [
      config.duplicate_window < nanos(MESSAGE_ID_WINDOW_MS),
      `${stream} remembers message ids for less than two minutes: a message sent again later is stored twice.`,
    ],
  ];
  return notices.filter(([unsafe]) => unsafe).map(([, sentence]) => sentence);
}

/** The subject to publish on: `<stream>.tx` where the stream takes it, else its only subject when that has no wildcard. */
export function subjectOf(config: StreamConfig): string {
  const own = `${config.name}.tx`;
  if (config.subjects.some((pattern) => covers(pattern, own))) return own;
  const [only] = config.subjects;
  if (config.subjects.length === 1 && only !== undefined && !/[*>]/.test(only)) return only;
  throw new CairnError("CONFIG_INVALID", `The stream "${config.name}" does not take the subject "${own}".`, {
    hint: `Add "${own}" to its subjects, or name another stream.`,
  });
}

/** Whether a subject matches a pattern of subjects. */
export function covers(pattern: string, subject: string): boolean {
  const parts = subject.split(".");
  const tokens = pattern.split(".");
  return tokens.every((token, index) => {
    const part = parts[index];
    if (part === undefined) return false;
    return (
      token === ">" ||
      ((token === "*" || token === part) && (index < tokens.length - 1 || parts.length === tokens.length))
    );
  });
}
