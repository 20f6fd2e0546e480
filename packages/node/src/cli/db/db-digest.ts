import { digestIndex } from "../../index/read/digest.ts";
import { type AddCommand, wholeNumber } from "../options/command-options.ts";
import type { DbOptions } from "./db-copy.ts";
import { describeDbCommand, withIndex } from "./db-reader.ts";
import { writeJson } from "../terminal/terminal.ts";

export const addDbDigest: AddCommand = (parent, terminal) => {
  describeDbCommand(
    parent.command("digest [place]"),
    "Print the SHA-256 of the logical content, like GET /api/v1/digest",
    ["cairn db digest ./cairn-data/node-1-index", "cairn db digest ./cairn-data/checkpoints --at-tx 1200"],
  )
    .option(
      "--at-tx <id>",
      "print the digest at an earlier transaction, computed from the history",
      wholeNumber("--at-tx", 1),
    )
    .action(async (place: string | undefined, options: DbOptions & { atTx?: number }) => {
      const digest = await withIndex(place, options, terminal, ({ reader }) =>
        digestIndex(reader, options.atTx),
      );
      return writeJson(terminal.stdout, digest);
    });
};
