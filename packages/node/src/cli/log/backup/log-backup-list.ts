import { listBackup } from "../../../backup/segments/segment-name.ts";
import {
  type AddCommand,
  describeConfiguredCommand,
  type OutputOptions,
} from "../../options/command-options.ts";
import { type BackupOptions, type BackupPlace, withBackup } from "../../places/backup-place.ts";
import { formatTable } from "../../terminal/columns.ts";
import { formatBytes, formatCount, formatRelative } from "../../../text/quantities.ts";
import { writeJsonLines, writeLine, tell } from "../../terminal/terminal.ts";

export const addLogBackupList: AddCommand = (parent, terminal) => {
  describeConfiguredCommand(
    parent.command("list [store]"),
    "List the segments of a log backup in the configured store, in a folder or in s3://bucket/prefix, oldest first",
    ["cairn log backup list -f cairn.edn", "cairn log backup list ./cairn-data/checkpoints --json"],
  )
    .option("--log <id>", "the id of the log, if the store contains backups of several logs")
    .action(async (place: string | undefined, options: BackupOptions & OutputOptions) => {
      const segments = await withBackup(place, options, terminal, listed, { withoutLog: true });
      if (options.json === true) return writeJsonLines(terminal.stdout, segments);
      if (segments.length === 0) return tell(terminal, "None found.");
      const now = Date.now();
      const rows = segments.map(({ name, first, last, bytes, writtenAt }) => [
        name,
        formatCount(first),
        formatCount(last),
        formatBytes(bytes),
        formatRelative(writtenAt, now),
      ]);
      const heading = ["NAME", "FIRST", "LAST", "SIZE", "WRITTEN"];
      return writeLine(
        terminal.stdout,
        formatTable(heading, rows, ["FIRST", "LAST", "SIZE"], terminal.stdout),
      );
    });
};

interface Listed {
  readonly name: string;
  readonly first: number;
  readonly last: number;
  readonly bytes: number;
  readonly writtenAt: string;
}

async function listed({ store, logId }: BackupPlace): Promise<Listed[]> {
  return (await listBackup(store, logId)).segments.map(({ name, first, last, bytes, modifiedAt }) => {
    return { name, first, last, bytes, writtenAt: new Date(modifiedAt).toISOString() };
  });
}
