// Exits with 0 if the node in this container is live, or ready: node healthcheck.mjs live|ready
// The image has no curl, and `cairn status` needs a token if the node requires one.
const [what = "live"] = process.argv.slice(2);
const port = process.env.CAIRN_HTTP_PORT || "3000";
const scheme = process.env.CAIRN_HEALTH_SCHEME || "http";
try {
  const { status } = await fetch(`${scheme}://127.0.0.1:${port}/health/${what}`, {
    signal: AbortSignal.timeout(4000),
  });
  process.exitCode = status === 200 ? 0 : 1;
} catch (error) {
  console.error(`The node does not respond: ${error.cause?.message ?? error.message}`);
  process.exitCode = 1;
}
