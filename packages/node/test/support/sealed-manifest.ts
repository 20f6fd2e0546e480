import { createHash } from "node:crypto";

/** The text of a manifest that says anything at all, with the checksum that docs/checkpoint-format.md asks for. */
export function sealedManifest(manifest: object): string {
  const members = Object.entries(manifest).filter(([name]) => name !== "sha256");
  const checked = JSON.stringify(Object.fromEntries(members), null, 1).replace(/\n\}$/, "");
  const sha256 = createHash("sha256").update(checked).digest("hex");
  return `${checked},\n "sha256": "${sha256}"\n}\n`;
}
