// Starts what nodes need for development, without containers: a nats-server with JetStream from the PATH.
import { spawn } from "node:child_process";

const PORT = process.env.CAIRN_LOCALSTACK_NATS_PORT ?? "4222";
const STORE = process.env.CAIRN_LOCALSTACK_DIR ?? "./cairn-data/localstack-nats";

// Debian installs it where an ordinary user's PATH may not look.
const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };
const server = spawn("nats-server", ["-a", "127.0.0.1", "-p", PORT, "-js", "-sd", STORE], {
  env,
  stdio: "inherit",
});
server.on("spawn", () => console.log(`export NATS_URL=nats://127.0.0.1:${PORT}`));
server.on("error", () => {
  console.error(
    "There is no nats-server on the PATH: install it (Debian: apt-get install nats-server), or use localstack/compose.yml.",
  );
  process.exitCode = 1;
});
server.on("exit", (code) => {
  process.exitCode = code ?? 0;
});
// A terminal signals the whole group; a supervisor only this process.
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => server.kill(signal));
