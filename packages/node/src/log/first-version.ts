import { CairnError } from "@cairn/kv";

/** `LOG_DIFFERENT`: a log that Cairn 0.1.0 wrote. The hint is followed word by word by a test. */
export function ofFirstVersion(logName: string): CairnError {
  return new CairnError(
    "LOG_DIFFERENT",
    `Cairn 0.1.0 wrote the log "${logName}", which this version does not read.`,
    {
      hint: "Begin a new log, under another name. To take the documents over, start Cairn 0.1.0 on the old one and, for each bucket, with the command of this version run cairn list BUCKET --all --transactions --url OLD-NODE | cairn load - --url NEW-NODE. Nothing was read or written.",
    },
  );
}
