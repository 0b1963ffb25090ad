import { createHash } from "node:crypto";
import { Hono } from "hono";
import { INDEX, MODULES, PACKAGES, STYLES } from "./dashboard/files.ts";

/** How long browsers keep what never changes under its address, in seconds: a year. */
const FOR_EVER = 31_536_000;

/** A package, as a module names it: by the import map, or as JSR writes it in what is published. */
const PACKAGE = /(?<=from ")(?:npm:)?\/?(lit-html|uplot)(?:@[^/"]+)?((?:\/[^"]*)?)(?=")/g;

/**
 * Puts the addresses of packages in the place of their names.
 *
 * @param source A module.
 * @returns The module, as a browser can load it.
 */
export function withAddresses(source: string): string {
  return source.replaceAll(PACKAGE, (_all, name: string, path: string) => {
    if (name === "uplot") return `./npm/${path.slice(path.lastIndexOf("/") + 1)}`;
    return `./npm/${path === "" ? "lit-html.js" : path.slice(1)}`;
  });
}

function tagOf(texts: readonly string[]): string {
  return createHash("sha256").update(texts.join("\0")).digest("hex").slice(0, 16);
}

interface Asset {
  readonly text: string;
  readonly type: string;
}

function assetsOf(): Map<string, Asset> {
  const assets = new Map<string, Asset>();
  for (const [files, kind] of [[MODULES, "javascript"], [STYLES, "css"]] as const) {
    for (const [name, source] of Object.entries(files)) {
      assets.set(name, { text: withAddresses(source), type: `text/${kind}; charset=utf-8` });
    }
  }
  for (const [name, source] of Object.entries(PACKAGES)) {
    const kind = name.endsWith(".css") ? "css" : "javascript";
    // What they were made from is not served.
    const text = source.replace(/\n\/\/# sourceMappingURL=\S*\s*$/, "\n");
    assets.set(`npm/${name}`, { text, type: `text/${kind}; charset=utf-8` });
  }
  return assets;
}

/**
 * The page of the dashboard, at `/`, and what it is made of. It shows nothing by itself: what it shows, it asks `/operator` for,
 * as whoever has logged in.
 */
export function dashboardPages(): Hono {
  const app = new Hono();
  const assets = assetsOf();
  const version = tagOf([...assets].flatMap(([name, { text }]) => [name, text]));
  const page = INDEX.replaceAll("/assets/VERSION/", `/assets/${version}/`);
  const tag = `"${tagOf([page])}"`;

  app.get("/", (context) => {
    context.header("etag", tag);
    context.header("cache-control", "no-cache");
    if (context.req.header("if-none-match")?.split(/,\s*/).includes(tag)) return context.body(null, 304);
    return context.html(page);
  });

  app.get("/assets/:version/:path{.+}", (context) => {
    const asset = assets.get(context.req.param("path"));
    if (!asset) return context.notFound();
    // A page that is older than the server gets what the server has, for now.
    const isCurrent = context.req.param("version") === version;
    return context.body(asset.text, 200, {
      "content-type": asset.type,
      "cache-control": isCurrent ? `public, max-age=${FOR_EVER}, immutable` : "no-store",
    });
  });
  return app;
}
