import { CairnError, systemErrorCode } from "@cairn/kv";

const FULL = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

/** Turns a full disk on this machine into `DISK_FULL`; any other error stays what it is. */
export function diskError(error: unknown, dir: string): unknown {
  const code = systemErrorCode(error);
  if (error instanceof CairnError || !FULL.has(code ?? "")) return error;
  return new CairnError("DISK_FULL", `The disk of ${dir} has no space left (${code}).`, {
    hint: "Free some space; what was half written is removed.",
    cause: error,
  });
}
