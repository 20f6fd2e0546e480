// The packages that are published, each after those that it depends on.
import { readdirSync, readFileSync } from "node:fs";

const root = new URL("../packages/", import.meta.url);
const manifests = new Map(
  readdirSync(root).map((name) => [
    name,
    JSON.parse(readFileSync(new URL(`${name}/package.json`, root), "utf8")),
  ]),
);

export const PACKAGES = [];

function add(name) {
  const { private: isPrivate, dependencies = {} } = manifests.get(name);
  if (isPrivate === true || PACKAGES.includes(name)) return;
  for (const dependency of Object.keys(dependencies)) {
    if (dependency.startsWith("@cairn/")) add(dependency.slice("@cairn/".length));
  }
  PACKAGES.push(name);
}

for (const name of manifests.keys()) add(name);
