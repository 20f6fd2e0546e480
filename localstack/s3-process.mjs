// The S3 service as a process: node s3-process.mjs '{"dir", "port", "bucket", "accessKeyId", "conditions"}'. Prints its port on a line, and
// exits when its parent closes stdin.
import { startS3Service } from "./s3-service.mjs";

const service = await startS3Service(JSON.parse(process.argv[2] ?? "{}"));
process.stdout.write(`${service.port}\n`);
const end = () => void service.close().then(() => process.exit(0));
process.stdin.resume().on("end", end);
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, end);
