import { createHash } from "node:crypto";

/** Returns a manifest with arbitrary content as JSON, sealed as docs/internals/checkpoint-format.md requires. */
export function sealedManifest(manifest: object): string {
  const members = Object.entries(manifest).filter(([name]) => name !== "sha256");
  const checked = JSON.stringify(Object.fromEntries(members), null, 1).replace(/\n\}$/, "");
  const sha256 = createHash("sha256").update(checked).digest("hex");
  return `${checked},\n "sha256": "${sha256}"\n}\n`;
}
