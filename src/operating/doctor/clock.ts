import { check, count, type Finding } from "./finding.ts";

/** How far clocks may be apart, in milliseconds. */
const TOLERATED = 1_000;
/** From here on it does harm: leases last seconds. */
const HARMFUL = 30_000;

/** How often the store is asked for its time: the fastest answer says most. */
const TRIES = 3;

/** Says how far this machine's clock is from that of the store; positive: it is ahead. */
export function examineSkew(skew: number, where: string): Finding[] {
  if (Math.abs(skew) <= TOLERATED) return [];
  const seconds = (Math.abs(skew) / 1_000).toFixed(1);
  return [{
    severity: Math.abs(skew) > HARMFUL ? "error" : "warning",
    what: `The clock of this machine is ${seconds} s ${skew > 0 ? "ahead of" : "behind"} the store's`,
    where,
    todo: "let both keep time by NTP: timedatectl set-ntp true; then: timedatectl status",
  }];
}

/** Whether clocks agree: this machine's, the store's, and those of whoever sends messages. */
export const CLOCK = check("clocks", ["store"], async ({ store }) => {
  let [best, skew] = [Infinity, 0];
  for (let i = 0; i < TRIES; i++) {
    const before = Date.now();
    const started = performance.now();
    const { now } = await store.due(1);
    const took = performance.now() - started;
    if (took >= best) continue;
    [best, skew] = [took, before + took / 2 - now];
  }
  const findings = examineSkew(skew, `event_store: ${store.location}`);
  const recent = await store.readLog({ backward: true, limit: 100, largest: 0 });
  const early = recent.filter(({ time }) => time > Date.now() - skew + TOLERATED);
  if (early.length > 0) {
    findings.push({
      severity: "warning",
      what: `${count(early.length, "message")} of the last ${recent.length} from the future: a sender's clock is ahead`,
      where: `event_store: position ${early[0].position}, ${early[0].stream}`,
      todo: "find the machine that sends them, and on it: timedatectl set-ntp true",
    });
  }
  return findings;
});
