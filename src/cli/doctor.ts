import type { Command } from "commander";
import type { Config } from "../config/config.ts";
import { ConfigError } from "../config/errors.ts";
import { loadConfig } from "../config/load.ts";
import { NO_REPORT } from "../telemetry/events.ts";
import { AnnalsError } from "../lib/annals_error.ts";
import { codeOf, explainLoad, inspect, poolFor } from "../isolation/inspect.ts";
import type { DomainDescription } from "../isolation/protocol.ts";
import { bySeverity, type Examination, examine } from "../operating/doctor/doctor.ts";
import type { Finding } from "../operating/doctor/finding.ts";
import { openBrokerQuietly, openQuietly } from "../operating/doctor/opening.ts";
import { paint } from "../telemetry/colors.ts";
import { chooseDomain, type GlobalOptions } from "./operator.ts";
import { COLORS, print } from "./output.ts";
import { FindingsError } from "./run.ts";

const SEVERITY_COLORS = { error: "red", warning: "yellow", note: "dim" } as const;

/** What was examined, with what was found before there was something to look at. */
type Report = readonly Examination[];

function of(check: string, findings: readonly Finding[]): Examination {
  return { check, isMade: true, findings };
}

function configurationFaults(error: ConfigError): Finding[] {
  return error.faults.map(({ key, message }) => ({
    severity: "error",
    what: message,
    where: [error.file ?? "domain.toml", key].filter((part) => part !== "").join(": "),
    todo: "correct it, then: annals config check",
  }));
}

/** Asks the domain's code for its description, without holding the configuration to it: that is a check. */
async function describe(config: Config, module: string): Promise<DomainDescription | Finding> {
  const code = codeOf(module, config);
  const pool = poolFor(code, config, NO_REPORT);
  try {
    return await inspect(pool, code, config);
  } catch (error) {
    return { severity: "error", what: explainLoad(module, error), where: module, todo: `deno check ${module}` };
  } finally {
    await pool.stop();
  }
}

function domainNamed({ domain }: GlobalOptions, config: Config): string | null {
  const names = Object.keys(config.domains);
  if (domain !== undefined) return names.includes(domain) ? domain : null;
  return names.length === 1 ? names[0] : null;
}

async function diagnose(options: GlobalOptions): Promise<Report> {
  let config: Config;
  try {
    config = loadConfig({ file: options.config });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return [of("configuration", configurationFaults(error))];
  }
  const report: Examination[] = [];
  let domain: DomainDescription | null = null;
  try {
    const described = await describe(config, chooseDomain(options, config));
    if ("severity" in described) report.push(of("domain", [described]));
    else domain = described;
  } catch (error) {
    if (!(error instanceof AnnalsError)) throw error;
    const where = `${config.file ?? "domain.toml"}: domains`;
    report.push(of("domain", [{ severity: "error", what: error.message, where, todo: "annals doctor --domain NAME" }]));
  }
  const name = domain?.name ?? domainNamed(options, config);
  const [store, broker] = name === null
    ? [{ opened: null, findings: [] }, { opened: null, findings: [] }]
    : await Promise.all([openQuietly(config, name), openBrokerQuietly(config, name)]);
  try {
    report.push(of("services", [...store.findings, ...broker.findings]));
    const examined = { config, name, domain, store: store.opened, broker: broker.opened };
    return [...report, ...await examine(examined)];
  } finally {
    await store.opened?.close();
    await broker.opened?.close();
  }
}

function textOf(report: Report): string {
  const findings = bySeverity(report.flatMap((one) => one.findings));
  const lines = findings.flatMap(({ severity, what, where, todo }) => [
    `${paint(severity.padEnd(7), SEVERITY_COLORS[severity], COLORS)}  ${what}`,
    `         ${paint(where, "dim", COLORS)}`,
    ...todo.split("\n").map((line, i) => `         ${i === 0 ? "→ " : "  "}${line}`),
    "",
  ]);
  const quiet = report.filter(({ isMade, findings }) => isMade && findings.length === 0).map(({ check }) => check);
  const left = report.filter(({ isMade }) => !isMade).map(({ check }) => check);
  const counts = (["error", "warning", "note"] as const).map((severity) => {
    const number = findings.filter((one) => one.severity === severity).length;
    return `${number} ${severity}${number === 1 ? "" : "s"}`;
  });
  return [
    ...lines,
    ...(quiet.length > 0 ? [`${paint("nothing found", "green", COLORS)}: ${quiet.join(", ")}`] : []),
    ...(left.length > 0 ? [`${paint("not looked at", "yellow", COLORS)}: ${left.join(", ")}`] : []),
    counts.join(", "),
  ].join("\n");
}

/** `annals doctor` */
export function addDoctor(program: Command): void {
  program.command("doctor").description(
    "look for what is wrong with services, settings, files and data, and say what to do; changes nothing",
  )
    .option("--json", "print one JSON document")
    .action(async ({ json }) => {
      const report = await diagnose(program.opts<GlobalOptions>());
      const findings = bySeverity(report.flatMap((one) => one.findings));
      const isOk = !findings.some(({ severity }) => severity === "error");
      const checks = report.map(({ check, isMade, findings }) => ({ check, isMade, findings: findings.length }));
      print(json, { ok: isOk, findings, checks }, () => textOf(report));
      if (!isOk) throw new FindingsError();
    });
}
