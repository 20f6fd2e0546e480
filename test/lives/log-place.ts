import { cp, rename, rm } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { NatsOperator, type NatsTestServer } from "@cairn/log-nats/testing";

/** Where the messages of a life's log are, and what happens to that place while none of the nodes knows. */
export interface LogPlace {
  readonly servers: readonly NatsTestServer[];
  /** Copies the log to a folder, which must not exist. An embedded log must not be open. */
  copyTo(folder: string): Promise<void>;
  /** Puts a copy in the place of the log or, without one, removes the log. An embedded log must not be open. */
  replaceWith(folder: string | undefined): Promise<void>;
  /** Removes the log as a hint says: the stream of running servers, or the folder of an embedded log. */
  remove(): Promise<void>;
}

/** Returns the place of an embedded log. */
export function embeddedPlace(path: () => string): LogPlace {
  let moved = 0;
  const remove = async (): Promise<void> => {
    moved += 1;
    await rename(path(), `${path()}-moved-${moved}`);
  };
  return {
    servers: [],
    copyTo: async (folder) => await cp(path(), folder, { recursive: true }),
    async replaceWith(folder) {
      await remove();
      if (folder !== undefined) await cp(folder, path(), { recursive: true });
    },
    remove,
  };
}

/** Returns the place of a log on NATS servers. */
export function natsPlace(servers: readonly NatsTestServer[]): LogPlace {
  const each = async (act: (server: NatsTestServer, n: number) => Promise<unknown>): Promise<void> => {
    await Promise.all(servers.map(act));
  };
  return {
    servers,
    async copyTo(folder) {
      await each((server) => server.stop());
      await each((server, n) => cp(server.storeDir, `${folder}/${n}`, { recursive: true }));
      await each((server) => server.start());
    },
    async replaceWith(folder) {
      await each((server) => server.kill());
      await each((server) => rm(server.storeDir, { recursive: true, force: true }));
      if (folder !== undefined)
        await each((server, n) => cp(`${folder}/${n}`, server.storeDir, { recursive: true }));
      await each((server) => server.start());
    },
    async remove() {
      const [server] = servers;
      if (server === undefined) return;
      // A cluster that has just started has no leader for a while.
      for (let attempt = 0; ; attempt += 1) {
        try {
          await NatsOperator.at(server.url, (operator) => operator.deleteStream());
          return;
        } catch (error) {
          if (attempt === 20) throw error;
        }
        await delay(500);
      }
    },
  };
}
