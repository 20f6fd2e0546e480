import { CairnClient, CairnClientError } from "@cairn/client";
import { type Delivery, QUEUE, startDeliveries } from "./deliver.ts";
import { startReceiver } from "./receiver.ts";

const HELP = `Usage: main.js deliver NAME
       main.js enqueue COUNT URL
       main.js receive PORT

deliver  Delivers what is in the queue. Several of them may run, each with its own NAME.
enqueue  Enqueues COUNT deliveries to URL.
receive  Prints what it receives, and responds to every fifth request with 503.

CAIRN_URLS       the Cairn nodes (default: http://127.0.0.1:3000)
CAIRN_AUTH_TOKEN the nodes' token, if they have one
`;

async function main([command, first, second]: readonly string[]): Promise<void> {
  const { CAIRN_URLS: urls = "http://127.0.0.1:3000", CAIRN_AUTH_TOKEN: token } = process.env;
  const client = new CairnClient({ urls: urls.split(","), ...(token === undefined ? {} : { token }) });
  if (command === "deliver" && first !== undefined) await deliver(client, first);
  else if (command === "enqueue" && Number(first) > 0 && second !== undefined)
    await enqueue(client, Number(first), second);
  else if (command === "receive" && Number(first) > 0)
    startReceiver(Number(first), (name) => console.log(`received ${name}`));
  else {
    process.stderr.write(HELP);
    process.exitCode = 2;
  }
}

async function deliver(client: CairnClient, name: string): Promise<void> {
  const director = startDeliveries({
    client,
    name,
    onFailure: (sentence) => console.log(`${name} ${sentence}`),
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void director.stop());
  await director.done;
}

async function enqueue(client: CairnClient, count: number, url: string): Promise<void> {
  for (let number = 0; number < count; number += 1) {
    const delivery: Delivery = { state: "new", url, body: { number } };
    await client.enqueue(QUEUE, crypto.randomUUID(), delivery);
  }
}

main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  if (error instanceof CairnClientError && error.hint !== undefined) console.error(`  hint: ${error.hint}`);
  process.exitCode = 3;
});
