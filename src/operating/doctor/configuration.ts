import { resolve } from "node:path";
import { checkExchange } from "../../engine/exchange.ts";
import { ungranted } from "../../isolation/permissions.ts";
import { exposing } from "../../isolation/visible_files.ts";
import { AnnalsError } from "../../lib/annals_error.ts";
import { didYouMean } from "../../lib/did_you_mean.ts";
import { generationOf } from "../../store/generations.ts";
import { check, type Examined, fileOf, type Finding, type Patient } from "./finding.ts";

function examineUnused({ config }: Patient): Finding[] {
  const variables = [
    ["DATABASE_URL", "event_store", "postgres", config.store.provider],
    ["REDIS_URL", "brokers.default", "redis", config.broker.provider],
  ] as const;
  return variables.flatMap(([variable, key, provider, used]): Finding[] => {
    const value = Deno.env.get(variable);
    if (value === undefined || value === "" || used === provider) return [];
    return [{
      severity: "warning",
      what: `${variable} is set, and ${key} is "${used}" all the same`,
      where: `${fileOf(config)}: ${key}.url`,
      todo: `write url = "\${${variable}|sqlite:.annals/{domain}.db}" under [${key}], or unset ${variable}`,
    }];
  });
}

function examineStore({ config }: Patient): Finding[] {
  const { provider, synchronous } = config.store;
  const where = `${fileOf(config)}: event_store`;
  if (provider === "memory") {
    const todo = 'write url = "sqlite:.annals/{domain}.db" under [event_store] to keep it';
    return [{ severity: "warning", what: "The log is in memory: it is lost when the server ends", where, todo }];
  }
  if (provider !== "sqlite" || synchronous === "full") return [];
  return [{
    severity: "warning",
    what: 'synchronous = "normal": the last commits may be lost in a power failure',
    where,
    todo: 'write synchronous = "full" under [event_store]',
  }];
}

function examineUnset({ config }: Patient): Finding[] {
  return config.unset.map(({ key, message }): Finding => ({
    severity: "warning",
    what: `A server does not start with this environment: ${message}`,
    where: `${fileOf(config)}: ${key}`,
    todo: "set it where servers run; commands like this one do not need it",
  }));
}

/** What `domain.toml` says, by itself. */
export const CONFIGURATION = check(
  "configuration",
  [],
  (patient) => Promise.resolve([...examineUnused(patient), ...examineUnset(patient), ...examineStore(patient)]),
);

function examineNames({ config, domain }: Examined<"domain">): Finding[] {
  const groups = [...new Set(domain.handlers.map(({ name }) => generationOf(name).projection))];
  const categories = [...new Set(domain.handlers.flatMap((handler) => handler.categories))];
  return [
    ...config.namedGroups.filter(({ group }) => !groups.includes(group)).map(({ group, key }): Finding => ({
      severity: "error",
      what: `Domain "${domain.name}" has no handler "${group}"${didYouMean(group, groups)}`,
      where: `${fileOf(config)}: ${key}`,
      todo: `correct the name, or remove ${key}: servers do not start with it`,
    })),
    ...config.namedCategories.filter(({ category }) => !categories.includes(category)).map((
      { category, key },
    ): Finding => ({
      severity: "error",
      what: `No handler of domain "${domain.name}" reads "${category}"${didYouMean(category, categories)}`,
      where: `${fileOf(config)}: ${key}`,
      todo: `correct the name, or remove ${key}: servers do not start with it`,
    })),
  ];
}

function examineGrants({ config, domain }: Examined<"domain">): Finding[] {
  const file = fileOf(config);
  const names = [...new Set(domain.handlers.map(({ name }) => generationOf(name).projection)), "*"];
  const exposed = names.flatMap((name): Finding[] => {
    const { read = [], write = [] } = config.grants(name);
    const path = exposing([...read, ...write], config, domain.name);
    if (path === undefined) return [];
    return [{
      severity: "error",
      what: `A grant would give handlers the files of the event store ("${path}")`,
      where: `${file}: server.permissions.${name}`,
      todo: "grant narrower paths, or move the data elsewhere: servers do not start with it",
    }];
  });
  const missing = ungranted(domain, config.grants, (path) => resolve(config.folder, path));
  if (missing === null) return exposed;
  return [...exposed, {
    severity: "error",
    what: `Handlers of domain "${domain.name}" request permissions that were not granted`,
    where: file,
    todo: `add this if you approve:\n${missing}`,
  }];
}

function examineExchange({ config, domain }: Examined<"domain">): Finding[] {
  try {
    checkExchange(domain, config);
    return [];
  } catch (error) {
    if (!(error instanceof AnnalsError)) throw error;
    const [what, ...rest] = error.message.split(/: add, and start again:\s*|\. Add, and start again:\s*/i);
    const todo = rest.length === 0 ? `correct ${fileOf(config)}` : `add:\n${rest.join("\n").trim()}`;
    return [{ severity: "error", what, where: fileOf(config), todo }];
  }
}

/** What `domain.toml` says about the domain. */
export const FITTING = check(
  "configuration of the domain",
  ["domain"],
  (patient) => Promise.resolve([...examineNames(patient), ...examineGrants(patient), ...examineExchange(patient)]),
);
