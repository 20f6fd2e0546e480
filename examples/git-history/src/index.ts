export { type ExpectedChange, type ExpectedFile, expectedFiles, expectedHistory } from "./oracle.ts";
export {
  COMMITS,
  FILES,
  type CommitDocument,
  type FileDocument,
  type FileType,
  type Person,
} from "./documents.ts";
export { HistoryError } from "./history-error.ts";
export { type HistoryOptions, historyLines } from "./history.ts";
export { type MadeRepository, type RepositoryPlan, makeRepository } from "./make-repository.ts";
export { MAX_NAME_BYTES, type PathName, pathName, pathOfName } from "./path-name.ts";
export { MAX_TRANSACTION_BYTES } from "./transaction-writer.ts";
