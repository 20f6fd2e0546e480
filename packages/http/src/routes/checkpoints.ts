import { jsonAnswer } from "../answers/answer.ts";
import { found, READ_ERRORS, type Route, route } from "../openapi/route.ts";
import { CHECKPOINT_PARAMETERS, READ_PARAMETERS } from "../requests/parameters.ts";
import { array, ref } from "../requests/schema-parts.ts";
import { storeInTime, timeLimit } from "./await-tx.ts";

const CHECKPOINTS = { concerns: "all", tag: "checkpoints" } as const;
const STORE_ERRORS = ["NOT_FOUND", "STORE_UNREACHABLE", "STORE_DENIED"] as const;
const WORK_ERRORS = [...STORE_ERRORS, "NOT_READY", "DISK_FULL", "SYSTEM_REFUSED"] as const;

export const checkpointRoutes: readonly Route[] = [
  route({
    ...CHECKPOINTS,
    method: "GET",
    path: "/api/v1/checkpoints",
    right: "observe",
    id: "listCheckpoints",
    summary: "List the store's checkpoints, newest first.",
    query: READ_PARAMETERS,
    answers: found("The checkpoints.", array(ref("Checkpoint"))),
    errors: [...READ_ERRORS, ...STORE_ERRORS, "KEY_MISSING"],
    async handle({ api, query }) {
      const limit = timeLimit(query.timeoutMs);
      await api.prepareRead(query);
      return jsonAnswer(await storeInTime(api.checkpoints(), limit));
    },
  }),
  route({
    ...CHECKPOINTS,
    method: "POST",
    path: "/api/v1/checkpoints",
    right: "operate",
    id: "saveCheckpoint",
    summary: "Save a checkpoint now.",
    query: CHECKPOINT_PARAMETERS,
    answers: [
      {
        status: 200,
        description: "The checkpoint, or the reason why none was saved.",
        schema: ref("SavedCheckpoint"),
      },
      {
        status: 202,
        description: "A checkpoint is being saved, or will be after the scheduled one that is.",
        schema: ref("SavedCheckpoint"),
      },
    ],
    errors: [...WORK_ERRORS, "CHECKPOINT_RUNNING", "STORE_FULL"],
    async handle({ api, query }) {
      const { begun, done } = api.checkpoint();
      // The failure is in /status; without this handler, the unhandled rejection would end the process.
      done.catch(() => undefined);
      await begun;
      if (query.await !== true) return jsonAnswer({ begun: true }, {}, 202);
      const result = await done;
      return jsonAnswer("checkpoint" in result ? result.checkpoint : result);
    },
  }),
  route({
    ...CHECKPOINTS,
    method: "POST",
    path: "/api/v1/checkpoints/{name}/verify",
    right: "operate",
    id: "verifyCheckpoint",
    summary:
      "Verify a checkpoint: read it back and mark it as verified. `newest` stands for the log's newest checkpoint.",
    answers: found("The checkpoint is intact.", ref("Verified")),
    errors: [
      ...WORK_ERRORS,
      "CHECKPOINT_NOT_FOUND",
      "CHECKPOINT_CORRUPT",
      "CHECKPOINT_INCOMPLETE",
      "KEY_MISSING",
      "PLAIN_REFUSED",
      "INDEX_VERSION",
    ],
    handle: async ({ api, params: { name } }) =>
      jsonAnswer(await api.verifyCheckpoint(name === "newest" ? undefined : name)),
  }),
];
