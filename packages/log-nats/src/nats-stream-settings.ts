import { CairnError } from "@cairn/kv";
import { isoDurationText } from "@cairn/text";
import { DiscardPolicy, nanos, RetentionPolicy, StorageType, type StreamConfig } from "nats";
import { MESSAGE_ID_WINDOW_MS } from "@cairn/engine";

const DESCRIBED_ID = /cairn log id ([0-9a-f-]{36})/;

export function describedLogId(description: string | undefined): string | undefined {
  return DESCRIBED_ID.exec(description ?? "")?.[1];
}

/** Returns `description` with this log id, which replaces any other one. */
export function describeLogId(logId: string, description = ""): string {
  if (DESCRIBED_ID.test(description)) return description.replace(DESCRIBED_ID, `cairn log id ${logId}`);
  return description === "" ? `cairn log id ${logId}` : `${description} (cairn log id ${logId})`;
}

/** Returns the settings of a stream that never discards messages. */
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
    // With "old", a full stream would drop messages that no node has read yet. With "new", it refuses new messages with
    // an error.
    discard: DiscardPolicy.New,
    max_msgs: -1,
    max_bytes: -1,
    max_age: 0,
    max_msgs_per_subject: -1,
    num_replicas: replicas,
    duplicate_window: nanos(MESSAGE_ID_WINDOW_MS),
    // A hole would end every reading. The setting is permanent, so a log must never depend on the deletion of single
    // messages.
    deny_delete: true,
    allow_rollup_hdrs: false,
    allow_direct: true,
  };
}

/** The stream's configuration, including settings of newer servers that the client does not know. */
type KnownConfig = StreamConfig & {
  readonly persist_mode?: string;
  readonly allow_msg_counter?: boolean;
  readonly allow_msg_ttl?: boolean;
};

/** A setting that the stream of a log should not have: its effect, as the predicate of a sentence, and the remedy. */
interface Flaw {
  readonly setting: string;
  readonly isSet: (config: KnownConfig) => boolean;
  readonly does: string | ((config: KnownConfig) => string);
  /** Absent if a stream can have the setting only from its creation on, so that no log was ever in it. */
  readonly cure?: (stream: string) => string;
  /** The code of the warning. Defaults to `LOG_UNSAFE`. */
  readonly code?: "TX_TOO_LARGE";
}

/** Returns the exact command of the NATS tool that changes a setting, with a remark. */
function edit(flag: string, more = ""): (stream: string) => string {
  return (stream) => `nats stream edit ${stream} ${flag.replace("STREAM", stream)} corrects that${more}.`;
}

function editByHand(change: string): (stream: string) => string {
  return (stream) => `nats stream edit ${stream} --interactive opens the settings in an editor: ${change}.`;
}

/** A full stream then loses messages. Otherwise it refuses new ones, so its limits are a choice. */
function discardsOld({ discard }: StreamConfig): boolean {
  return discard !== DiscardPolicy.New;
}

/** A limit below this refuses ordinary transactions (bytes). */
export const SMALL_MESSAGE = 4_096;

/** With one of these, a stream cannot be a log. docs/nats.md lists them. */
export const REFUSED_SETTINGS: readonly Flaw[] = [
  {
    setting: "retention",
    isSet: ({ retention }) => retention !== RetentionPolicy.Limits,
    does: ({ retention }) => `removes messages once they are read (retention "${retention}")`,
    cure: editByHand("set retention to limits (servers from 2.10 on; impossible for workqueue)"),
  },
  {
    setting: "mirror",
    isSet: ({ mirror }) => mirror !== undefined,
    does: "is a mirror, to which no messages can be written",
    // Before nats-server 2.12, nothing turns a mirror into a stream.
    cure: (stream) =>
      `If the stream that it copies is lost: ${editByHand(`remove mirror, and set subjects to [${stream}.tx] (servers from 2.12 on)`)(stream)} Then restart a node that has halted.`,
  },
  {
    setting: "sources",
    isSet: ({ sources }) => sources !== undefined && sources.length > 0,
    does: "copies messages from other streams",
    cure: editByHand("remove the sources"),
  },
  {
    setting: "sealed",
    isSet: ({ sealed }) => sealed,
    does: "is sealed",
    cure: (stream) =>
      `Nothing undoes that. Once the index of a node (cairn status) has all that the stream contains, remove the stream with nats stream rm ${stream} while the nodes run. A minute later, cairn log status says how to begin a log that continues it from that index.`,
  },
  {
    setting: "no_ack",
    isSet: ({ no_ack }) => no_ack === true,
    does: "acknowledges nothing",
    cure: edit("--ack"),
  },
  {
    // Since nats-server 2.12. A server that is killed would lose messages that it has acknowledged.
    setting: "persist_mode",
    isSet: ({ persist_mode }) => persist_mode === "async",
    does: 'acknowledges messages before they are stored (persist_mode "async")',
  },
  {
    // Since nats-server 2.12.
    setting: "allow_msg_counter",
    isSet: ({ allow_msg_counter }) => allow_msg_counter === true,
    does: "accepts only counters (allow_msg_counter)",
  },
  {
    // A copy of a log's stream that keeps the numbers of its messages has this setting.
    setting: "first_seq",
    isSet: ({ first_seq, description }) => first_seq > 1 && describedLogId(description) === undefined,
    does: ({ first_seq }) => `numbers its messages from ${first_seq} (first_seq), but a log begins at 1`,
  },
];

/** With one of these, a log may lose messages or store one twice. */
export const REPORTED_SETTINGS: readonly Flaw[] = [
  {
    setting: "storage",
    isSet: ({ storage }) => storage !== StorageType.File,
    does: "is stored in memory, so it is lost when its servers stop",
    cure: () =>
      "Begin another log on a stream with storage file, as Cairn creates it, because the storage of a stream cannot be changed.",
  },
  {
    setting: "discard",
    isSet: discardsOld,
    does: "discards its oldest messages when it is full",
    cure: edit("--discard=new", ": a full log then refuses new messages and discards none"),
  },
  {
    setting: "max_age",
    isSet: ({ max_age }) => max_age > 0,
    does: ({ max_age }) =>
      `removes messages that are older than ${isoDurationText(Math.round(max_age / 1e6))}`,
    cure: edit("--max-age=0s", "; nodes can trim the log instead"),
  },
  {
    setting: "max_msgs",
    isSet: (config) => config.max_msgs > 0 && discardsOld(config),
    does: ({ max_msgs }) => `holds at most ${max_msgs} messages`,
    cure: edit("--max-msgs=-1"),
  },
  {
    setting: "max_bytes",
    isSet: (config) => config.max_bytes > 0 && discardsOld(config),
    does: ({ max_bytes }) => `holds at most ${max_bytes} bytes`,
    cure: edit("--max-bytes=-1", "; then watch the disk of the servers"),
  },
  {
    setting: "max_msgs_per_subject",
    isSet: ({ max_msgs_per_subject }) => max_msgs_per_subject > 0,
    does: "limits the messages of a subject",
    cure: edit("--max-msgs-per-subject=-1"),
  },
  {
    // A larger limit refuses only large transactions, whose senders get an error.
    setting: "max_msg_size",
    isSet: ({ max_msg_size }) => max_msg_size > 0 && max_msg_size < SMALL_MESSAGE,
    does: ({ max_msg_size }) => `refuses messages of more than ${max_msg_size} bytes`,
    cure: edit("--max-msg-size=-1"),
    code: "TX_TOO_LARGE",
  },
  {
    setting: "deny_delete",
    isSet: ({ deny_delete }) => !deny_delete,
    does: "allows single messages to be deleted, which leaves holes",
    cure: edit("--deny-delete", ", for ever, as on streams that Cairn creates"),
  },
  {
    setting: "allow_rollup_hdrs",
    isSet: ({ allow_rollup_hdrs }) => allow_rollup_hdrs,
    does: "allows one message to replace all messages before it",
    cure: edit("--no-allow-rollup"),
  },
  {
    // Since nats-server 2.11.
    setting: "allow_msg_ttl",
    isSet: ({ allow_msg_ttl }) => allow_msg_ttl === true,
    does: "removes messages that are published with a time to live (allow_msg_ttl), which leaves holes",
    cure: (stream) =>
      `Permit only the users of nodes and commands, whose messages have none, to publish on ${stream}.tx, or begin another log on a stream without the setting, because the server never turns it off again.`,
  },
  {
    setting: "duplicate_window",
    isSet: ({ duplicate_window }) => duplicate_window < nanos(MESSAGE_ID_WINDOW_MS),
    does: "remembers message ids for less than two minutes, so a message that is sent again later is stored twice",
    cure: edit("--dupe-window=2m"),
  },
  {
    setting: "subjects",
    isSet: ({ subjects }) => subjects.length > 1 || subjects.some(hasWildcard),
    does: ({ subjects }) =>
      `captures more than the log's subject (${subjects.join(", ")}), so everything that is published there is stored in the log`,
    cure: edit("--subjects=STREAM.tx"),
  },
];

/** Returns `LOG_UNSAFE`, or the code of the flaw, for each unsafe setting of a stream. Throws `CONFIG_INVALID` if the stream cannot be a log. */
export function unsafeSettings(config: StreamConfig): CairnError[] {
  const { name } = config;
  const says = ({ does }: Flaw): string => (typeof does === "string" ? does : does(config));
  // Such a stream may lack the other settings: a mirror has no subjects.
  const refused = REFUSED_SETTINGS.find(({ isSet }) => isSet(config));
  if (refused !== undefined) {
    const cure = refused.cure?.(name);
    throw new CairnError(
      "CONFIG_INVALID",
      `The stream "${name}" cannot be a log: it ${says(refused)}.`,
      cure === undefined
        ? "Name another stream. If it does not exist, Cairn creates it with the right settings."
        : `${cure} If the stream holds no log yet, you can also name another one.`,
    );
  }
  return REPORTED_SETTINGS.filter(({ isSet }) => isSet(config)).map(
    (flaw) =>
      new CairnError(flaw.code ?? "LOG_UNSAFE", `The stream "${name}" ${says(flaw)}.`, flaw.cure?.(name)),
  );
}

/** Returns the maximum idle time of a consumer that the stream allows (ms); undefined for no limit. */
export function inactiveLimit({ consumer_limits: limits }: StreamConfig): number | undefined {
  const { inactive_threshold: nanoseconds = 0 } = limits ?? {};
  return nanoseconds > 0 ? Math.floor(nanoseconds / 1e6) : undefined;
}

/** Returns whether the stream has a subject on which messages can be published. */
export function takesMessages(config: StreamConfig): boolean {
  return subjectIn(config) !== undefined;
}

/** `<stream>.tx` if captured, else the only subject if it has no wildcard. Throws `CONFIG_INVALID` if there is none. */
export function subjectOf(config: StreamConfig): string {
  const subject = subjectIn(config);
  if (subject !== undefined) return subject;
  const { name, subjects } = config;
  throw new CairnError(
    "CONFIG_INVALID",
    `The stream "${name}" does not capture the subject "${name}.tx", but ${subjects.join(", ")}.`,
    `Add "${name}.tx" to the subjects of the stream, or name another stream.`,
  );
}

function subjectIn({ name, subjects }: StreamConfig): string | undefined {
  const own = `${name}.tx`;
  if (subjects.some((pattern) => covers(pattern, own))) return own;
  const [only] = subjects;
  return subjects.length === 1 && only !== undefined && !hasWildcard(only) ? only : undefined;
}

function hasWildcard(subject: string): boolean {
  return subject.split(".").some((token) => token === "*" || token === ">");
}

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
