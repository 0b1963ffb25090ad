import { check, type Finding } from "./finding.ts";

/** What to do about warnings of the services, by what they say. */
const REMEDIES: readonly (readonly [said: RegExp, todo: (found: RegExpExecArray) => string, severity?: "note"])[] = [
  [
    /has (\w+) = off/,
    ([, name]) => `psql "$DATABASE_URL" -c "alter system set ${name} = on" -c "select pg_reload_conf()"`,
  ],
  [
    /superuser/,
    () => 'create role annals login password "…"; grant create on database … to annals; then use it in the URL',
  ],
  [/needs 14 or newer/, () => "upgrade PostgreSQL (pg_upgrade), at least to 14"],
  [/annals store partition/, () => "annals store partition"],
  [/Notifications/, () => 'set listen_url = "postgres://…" under [event_store] to a URL that bypasses the pooler'],
  [/may evict whole streams/, () => "redis-cli config set maxmemory-policy noeviction"],
  [/keeps nothing on disk/, () => "nothing is lost; to start sooner: redis-cli config set appendonly yes", "note"],
];

/** Makes a finding of a warning that a service gives of itself. */
export function findingOf(warning: string, where: string): Finding {
  for (const [said, todo, severity = "warning"] of REMEDIES) {
    const found = said.exec(warning);
    if (found) return { severity, what: warning, where, todo: todo(found) };
  }
  return { severity: "warning", what: warning, where, todo: "see docs/deploy.md" };
}

/** How the store is set up. */
export const STORE = check("event store", ["store"], async ({ config, store }) => {
  // One in the memory of a server has no settings.
  if (config.store.provider === "memory") return [];
  const where = `event_store: ${store.location}`;
  return (await store.inspect?.() ?? []).map((warning) => findingOf(warning, where));
});

/** How the broker is set up. */
export const BROKER = check("broker", ["broker"], async ({ broker }) => {
  const where = `brokers.default: ${broker.location}`;
  return (await broker.inspect?.() ?? []).map((warning) => findingOf(warning, where));
});
