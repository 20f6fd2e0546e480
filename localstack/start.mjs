// Starts what nodes need for development, S3 and NATS, tells how to use it, and stops all of it at Ctrl-C.
import { containerEngine, startContainers } from "./containers.mjs";
import { startPrograms } from "./programs.mjs";

const engine = process.env.CAIRN_LOCALSTACK_S3 === undefined ? containerEngine() : undefined;
// Signals that come while things start are kept for later: nothing is left half started.
const asked = new Promise((resolve) => {
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, resolve);
});

try {
  const stack = engine === undefined ? await startPrograms() : await startContainers(engine);
  tell(stack);
  const alone = await Promise.race([asked.then(() => false), stack.ended.then(() => true)]);
  if (alone) console.error("nats-server has ended by itself; the rest is stopped.");
  process.exitCode = alone ? 1 : 0;
  await stack.stop();
  process.exit();
} catch (error) {
  console.error(error.message);
  process.exit(1);
}

function tell({ natsUrl, s3, data }) {
  console.log(`# S3 is ${s3.name}; data: ${data}; Ctrl-C stops everything and keeps the data.
# Copy these lines into the shell of a node:
export NATS_URL=${natsUrl}
export AWS_ENDPOINT_URL_S3=${s3.endpoint}
export AWS_REGION=us-east-1
export AWS_ACCESS_KEY_ID=${s3.accessKeyId}
export AWS_SECRET_ACCESS_KEY=${s3.secretAccessKey}
# and start it there with its checkpoints in the bucket ${s3.bucket}:
pnpm start -e '{:cairn/index-store {:kv-store {:checkpointer {:store {:cairn/module cairn.s3/->checkpoint-store :bucket "${s3.bucket}"}}}}}'
# What it has saved:
pnpm cairn checkpoint list s3://${s3.bucket}`);
}
