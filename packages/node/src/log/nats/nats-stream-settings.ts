import { CairnError } from "@cairn/kv";
import { Duration } from "luxon";
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

/** A setting by which a stream loses messages, or stores one twice: as the end of a sentence, with what to set instead. */
interface UnsafeSetting {
  readonly isSet: (config: StreamConfig) => boolean;
  readonly does: (config: StreamConfig) => string;
  readonly cure: string;
}

const UNSAFE: readonly UnsafeSetting[] = [
  {
    isSet: ({ storage }) => storage !== StorageType.File,
    does: () => "is kept in memory: it is lost when its servers stop",
    cure: "Storage cannot be changed: begin another log on a stream with storage file, as Cairn makes it.",
  },
  {
    isSet: ({ discard }) => discard !== DiscardPolicy.New,
    does: () => "discards its oldest messages when it is full",
    cure: "Set its discard policy to new: a full log then refuses, and forgets nothing.",
  },
  {
    isSet: ({ max_age }) => max_age > 0,
    does: ({ max_age }) => `removes messages that are older than ${formatAge(max_age)}`,
    cure: "Set its max_age to 0, and let nodes trim the log instead.",
  },
  {
    isSet: ({ max_msgs }) => max_msgs > 0,
    does: ({ max_msgs }) => `holds at most ${max_msgs} messages`,
    cure: "Set its max_msgs to -1.",
  },
  {
    isSet: ({ max_bytes }) => max_bytes > 0,
    does: ({ max_bytes }) => `holds at most ${max_bytes} bytes`,
    cure: "Set its max_bytes to -1, and watch the disk of the servers.",
  },
  {
    isSet: ({ max_msgs_per_subject }) => max_msgs_per_subject > 0,
    does: () => "limits the messages of a subject",
    cure: "Set its max_msgs_per_subject to -1.",
  },
  {
    isSet: ({ deny_delete }) => !deny_delete,
    does: () => "lets single messages be deleted, which leaves holes",
    cure: "Let nobody delete messages of it; a stream that Cairn makes denies it (deny_delete).",
  },
  {
    isSet: ({ allow_rollup_hdrs }) => allow_rollup_hdrs,
    does: () => "lets one message replace all before it",
    cure: "Set its allow_rollup_hdrs to false.",
  },
  {
    isSet: ({ duplicate_window }) => duplicate_window < nanos(MESSAGE_ID_WINDOW_MS),
    does: () => "remembers message ids for less than two minutes: a message sent again later is stored twice",
    cure: "Set its duplicate_window to two minutes or more.",
  },
];

/** Why a stream cannot be a log at all, as the end of a sentence. */
function whyUnusable(config: StreamConfig): string | undefined {
  if (config.retention !== RetentionPolicy.Limits) {
    return `it removes messages once they were read (retention "${config.retention}")`;
  }
  if (config.mirror !== undefined) return "it is a mirror, which cannot be written to";
  if (config.sources !== undefined && config.sources.length > 0)
    return "it takes messages from other streams";
  if (config.sealed) return "it is sealed";
  if (config.no_ack === true) return "it acknowledges nothing";
  // Since nats-server 2.12, and unknown to the client: a server that is killed would lose what was answered as stored.
  if ("persist_mode" in config && config.persist_mode === "async") {
    return 'it acknowledges messages before they are stored (persist_mode "async")';
  }
  return undefined;
}

/** What is unsafe about an existing stream, each as `LOG_UNSAFE`. Throws `CONFIG_INVALID` when it cannot be a log at all. */
export function unsafeSettings(config: StreamConfig): CairnError[] {
  const unusable = whyUnusable(config);
  if (unusable !== undefined) {
    throw new CairnError("CONFIG_INVALID", `The stream "${config.name}" cannot be a log: ${unusable}.`, {
      hint: "Name another stream; Cairn makes one with the right settings when there is none.",
    });
  }
  return UNSAFE.filter(({ isSet }) => isSet(config)).map(
    ({ does, cure }) =>
      new CairnError("LOG_UNSAFE", `The stream "${config.name}" ${does(config)}.`, { hint: cure }),
  );
}

/** Nanoseconds, for people. */
function formatAge(age: number): string {
  return Duration.fromMillis(Math.round(age / 1e6))
    .rescale()
    .toISO();
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
