import { fileURLToPath } from "node:url";
import { CLIENT_TEXT } from "./templates/client.ts";
import { composeText, dockerfileText, DOCKERIGNORE_TEXT, GITIGNORE_TEXT } from "./templates/containers.ts";
import { domainText } from "./templates/domain.ts";
import { DOMAIN_TEST_TEXT } from "./templates/domain_test.ts";
import { readmeText } from "./templates/readme.ts";

/** What a project is made for. */
export interface ProjectOptions {
  /** The domain's name. */
  readonly name: string;
  /** The version of this package. */
  readonly version: string;
  /** The clone that the package comes from: a URL without a slash at the end; `null` for a registry. */
  readonly clone: string | null;
}

function denoJsonText({ version, clone }: ProjectOptions): string {
  const settings = {
    tasks: {
      start: "deno run -A @annals/annals/server --domain=./domain.ts",
      test: "deno test",
      annals: "deno run -A @annals/annals/cli --domain=./domain.ts",
      client: "deno run -A client.ts",
    },
    imports: {
      // A clone is of the version that it has.
      "@annals/annals": clone === null ? `jsr:@annals/annals@^${version}` : "jsr:@annals/annals",
      zod: "npm:zod@^4.0.0",
    },
    unstable: ["worker-options"],
    ...(clone !== null && { links: [clone] }),
  };
  return `${JSON.stringify(settings, null, 2)}\n`;
}

/**
 * The files of a new project.
 *
 * @param options What it is made for.
 * @returns Their texts, by name.
 */
export function projectFiles(options: ProjectOptions): Record<string, string> {
  const { name, clone } = options;
  const folder = clone === null ? null : fileURLToPath(clone);
  return {
    "domain.ts": domainText(name),
    "domain_test.ts": DOMAIN_TEST_TEXT,
    "client.ts": CLIENT_TEXT,
    "deno.json": denoJsonText(options),
    "README.md": readmeText(name, folder),
    "Dockerfile": dockerfileText(clone !== null),
    "compose.yaml": composeText(folder),
    ".dockerignore": DOCKERIGNORE_TEXT,
    ".gitignore": GITIGNORE_TEXT,
  };
}
