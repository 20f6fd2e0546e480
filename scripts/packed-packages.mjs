// Installs packed packages with each package manager, as users will: from a registry on this machine that has them, or
// from their files.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";

/**
 * How each package manager adds packages, and runs a command that they install. All three refuse a package that asks
 * for another Node.
 */
export const MANAGERS = {
  npm: { program: ["npm"], add: ["install", "--engine-strict"], exec: ["exec", "--no", "--"] },
  pnpm: {
    program: ["npx", "-y", "pnpm@12"],
    add: ["add", "--config.engine-strict=true", "--allow-build=classic-level"],
    exec: ["exec"],
  },
  yarn: { program: ["npx", "-y", "yarn@1"], add: ["add", "--non-interactive"], exec: ["--silent", "run"] },
};

/** Returns the packages whose tarballs are in a folder: each name with the path of its file, and its manifest. */
export function readPackages(folder) {
  const names = readdirSync(folder).filter((name) => name.endsWith(".tgz"));
  const packages = names.map((name) => {
    const file = join(folder, name);
    const manifest = JSON.parse(execFileSync("tar", ["-xzOf", file, "package/package.json"]).toString());
    return [manifest.name, { file, manifest }];
  });
  return new Map(packages);
}

/** Serves packages as a registry does, so that they find one another as they will once published. */
export async function serveRegistry(packages) {
  const server = createServer((request, response) => {
    const [, name, isTarball] = /^\/(.*?)(\.tgz)?$/.exec(decodeURIComponent(request.url));
    const { file, manifest } = packages.get(name) ?? {};
    if (file === undefined) return response.writeHead(404).end();
    const tarball = readFileSync(file);
    if (isTarball !== undefined) return response.end(tarball);
    const dist = {
      tarball: `http://${request.headers.host}/${name}.tgz`,
      shasum: createHash("sha1").update(tarball).digest("hex"),
      integrity: `sha512-${createHash("sha512").update(tarball).digest("base64")}`,
    };
    response.setHeader("content-type", "application/json");
    return response.end(
      JSON.stringify({
        name,
        "dist-tags": { latest: manifest.version },
        versions: { [manifest.version]: { ...manifest, dist } },
        time: { [manifest.version]: "2020-01-01T00:00:00.000Z" },
      }),
    );
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Returns the files of a project that finds the packages in the registry at `url`. */
export function projectOfRegistry(url) {
  return { "package.json": '{"private": true, "type": "module"}', ".npmrc": `@cairn:registry=${url}\n` };
}

/**
 * Returns how a project installs packages from their files in `folder`: the file with what it needs before that, and the
 * arguments of the command. npm needs nothing if it is given all files, but pnpm and yarn look for the dependencies of a
 * file in the registry.
 */
export function installOfFiles(manager, folder, packages, names) {
  const places = Object.fromEntries([...packages].map(([name, { file }]) => [name, `file:${file}`]));
  if (manager === "npm") return { needs: {}, args: ["install", join(folder, "*.tgz")] };
  if (manager === "yarn") {
    return {
      needs: { "package.json": JSON.stringify({ resolutions: places }, null, 2) },
      args: ["add", ...names.map((name) => places[name])],
    };
  }
  const lines = Object.entries(places).map(
    (entry) => `  ${entry.map((word) => JSON.stringify(word)).join(": ")}\n`,
  );
  return {
    needs: { "pnpm-workspace.yaml": `overrides:\n${lines.join("")}` },
    args: ["add", "--allow-build=classic-level", ...names],
  };
}
