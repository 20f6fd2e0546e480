// Starts S3 and NATS for development, prints how to use them, and stops them on Ctrl-C.
import { containerEngine, startContainers } from "./containers.mjs";
import { startPrograms } from "./programs.mjs";

const engine = process.env.CAIRN_LOCALSTACK_S3 === undefined ? containerEngine() : undefined;
// Signals that arrive during the start are handled afterwards, so that nothing is left partially started.
const stopRequested = new Promise((resolve) => {
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, resolve);
});

try {
  const stack = engine === undefined ? await startPrograms() : await startContainers(engine);
  printUsage(stack);
  const failed = await Promise.race([stopRequested.then(() => false), stack.ended.then(() => true)]);
  if (failed) console.error("nats-server has exited by itself; stopping S3 too.");
  process.exitCode = failed ? 1 : 0;
  await stack.stop();
  process.exit();
} catch (error) {
  console.error(error.message);
  process.exit(1);
}

function printUsage({ natsUrl, s3, data }) {
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
