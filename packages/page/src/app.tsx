import type { NodeStatus } from "@cairn/client";
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { BrowseView } from "./browse/browse-view.tsx";
import { ClusterOverview } from "./cluster/cluster-overview.tsx";
import { addressOf, type PagePlace, usePlace, VIEWS } from "./data/place.ts";
import { type Polled, type PolledRequest, usePolled } from "./data/polled.ts";
import { tabToken } from "./data/requests.ts";
import { QueuesView } from "./queues/queues-view.tsx";
import { ownIndexNames, SqlView } from "./sql/sql-view.tsx";
import { WatchView } from "./watch/watch-view.tsx";

const TITLES: Readonly<Record<PagePlace["view"], string>> = {
  cluster: "Cluster",
  browse: "Browse",
  queues: "Queues",
  watch: "Watch",
  sql: "SQL",
};
/** Tells whether the node has indexes of its own, which it lists once it has caught up with its log. */
const STATUS: PolledRequest<NodeStatus> = { path: "status", form: "map", everyMs: () => 10_000 };

/** The frame around the views: where one is, and the token if the node requires one. */
export function App() {
  const place = usePlace();
  const isTokenMissing = useTokenMissing();
  const status = usePolled(STATUS);
  const hasIndexes = ownIndexNames(status.value).length > 0;
  useEffect(() => {
    document.title = `${TITLES[place.view]} – Cairn`;
  }, [place.view]);
  return (
    <>
      <header class="top">
        <h1>Cairn</h1>
        <nav aria-label="Views">
          {VIEWS.filter((view) => view !== "sql" || hasIndexes).map((view) => (
            <a key={view} href={addressOf(view)} aria-current={view === place.view ? "page" : undefined}>
              {TITLES[view]}
            </a>
          ))}
        </nav>
        {tabToken.value === undefined || isTokenMissing ? null : (
          <button type="button" class="plain" onClick={() => (tabToken.value = undefined)}>
            Forget the token
          </button>
        )}
      </header>
      <main>{isTokenMissing ? <TokenForm /> : viewOf(place, status)}</main>
    </>
  );
}

function viewOf({ view, parameters }: PagePlace, status: Polled<NodeStatus>): ComponentChildren {
  if (view === "browse") return <BrowseView parameters={parameters} />;
  if (view === "queues") return <QueuesView />;
  if (view === "watch") return <WatchView parameters={parameters} />;
  if (view === "sql") return <SqlView status={status} parameters={parameters} />;
  return <ClusterOverview />;
}

function useTokenMissing(): boolean {
  const [, setChanges] = useState(0);
  useEffect(() => tabToken.listen(() => setChanges((changes) => changes + 1)), []);
  return tabToken.isMissing;
}

function TokenForm() {
  const [token, setToken] = useState("");
  const wasRefused = tabToken.value !== undefined;
  return (
    <form
      class="panel token"
      onSubmit={(event) => {
        event.preventDefault();
        if (token.trim() !== "") tabToken.value = token.trim();
      }}
    >
      <h2>This node requires a token</h2>
      <p>
        {wasRefused ? "The token is not valid for this node. " : ""}
        Use one with the right observe for the cluster, and read for the documents. This tab keeps it until it
        is closed.
      </p>
      <label>
        Token{" "}
        <input
          type="password"
          autoComplete="off"
          value={token}
          onInput={(event) => setToken(event.currentTarget.value)}
        />
      </label>{" "}
      <button type="submit">Use the token</button>
    </form>
  );
}
