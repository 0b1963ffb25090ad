import { check, type Finding } from "./finding.ts";

/** The version of Deno that Annals is tested with. */
export const TESTED_DENO = "2.9.6";

/** Compares versions like `2.9.6`. */
export function isOlder(version: string, than: string): boolean {
  const [a, b] = [version, than].map((one) => one.split(/[.+-]/).map(Number));
  for (let i = 0; i < 3; i++) if (a[i] !== b[i]) return a[i] < b[i];
  return false;
}

/** Looks at a version of Deno. */
export function examineDeno(version: string): Finding[] {
  if (!isOlder(version, TESTED_DENO)) return [];
  return [{
    severity: "warning",
    what: `Deno ${version} is older than ${TESTED_DENO}, which Annals is tested with`,
    where: Deno.execPath(),
    todo: `deno upgrade ${TESTED_DENO}`,
  }];
}

/** The program that runs this. */
export const RUNTIME = check("Deno", [], () => Promise.resolve(examineDeno(Deno.version.deno)));
