import type { Counter, Gauge, Histogram, Registry } from "prom-client";

/** The module of the library, loaded when metrics are first asked for. */
export type Library = typeof import("prom-client");

/** Upper bounds of the classes that durations are counted in, in seconds. */
const DURATIONS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** Everything that is measured, in one registry. Names and units are those of the Prometheus conventions. */
export function instrumentsOf({ Registry, Counter, Gauge, Histogram }: Library) {
  const registry: Registry = new Registry();
  const registers = [registry];
  const counter = <L extends string>(name: string, help: string, ...labelNames: L[]): Counter<L> =>
    new Counter({ name, help, labelNames, registers });
  const gauge = <L extends string>(name: string, help: string, ...labelNames: L[]): Gauge<L> =>
    new Gauge({ name, help, labelNames, registers });
  const histogram = <L extends string>(name: string, help: string, ...labelNames: L[]): Histogram<L> =>
    new Histogram({ name, help, labelNames, registers, buckets: DURATIONS });
  return {
    registry,
    /** The groups that have handled something. */
    known: new Set<string>(),
    // What this process did.
    handled: counter(
      "annals_messages_handled_total",
      "Attempts to handle a message that were stored: handled, a command that was refused, failed and to be tried again, or given up (dead).",
      "group",
      "outcome",
    ),
    handling: histogram("annals_handling_seconds", "How long handlers took, by batch.", "group"),
    commit: histogram("annals_commit_seconds", "How long commits of what was handled took, by batch.", "group"),
    relayed: counter("annals_relay_messages_total", "Messages that the relay took to the broker."),
    relaying: histogram("annals_relay_seconds", "How long reading and publishing took, by batch of the relay."),
    released: counter("annals_schedule_released_total", "Scheduled messages that were due and appended to the log."),
    late: gauge("annals_schedule_late_seconds", "How late the first of the last scheduled messages was."),
    restarts: counter("annals_worker_restarts_total", "Workers that took the place of another.", "group"),
    heap: gauge("annals_worker_heap_bytes", "Heap that a worker used when it last worked.", "worker"),
    heapLimit: gauge("annals_worker_heap_limit_bytes", "Heap that each worker may use."),
    hostEnds: counter("annals_host_ends_total", "Processes of domain code that ended unasked.", "host"),
    rests: counter("annals_group_rests_total", "Pauses of groups whose workers ended again and again.", "group"),
    leasesLost: counter("annals_leases_lost_total", "Leases that were lost, or given up as unsure.", "group"),
    outages: counter("annals_service_outages_total", "Outages of the store or the broker that a group saw.", "group"),
    fallbacks: counter("annals_broker_fallbacks_total", "Changes to reading the log without the broker.", "group"),
    refills: counter("annals_broker_refills_total", "Refills of a category that the broker had lost.", "category"),
    events: counter("annals_events_total", "Events of the engine, by type.", "type"),
    logLines: counter("annals_handler_log_lines_total", "Lines that handlers logged.", "group", "level"),
    partitions: gauge("annals_partitions", "Partitions of a group in this process, by state.", "group", "state"),
    // What the store knows: the same in every process.
    storeUp: gauge(
      "annals_store_up",
      "1 if the store answered this scrape, 0 if not: then what only it knows is left out.",
    ),
    storeSeconds: gauge("annals_store_read_seconds", "How long the store took to answer this scrape."),
    position: gauge("annals_log_position", "Position of the last message in the log."),
    lagMessages: gauge("annals_lag_messages", "Messages of its categories that a group has still to read.", "group"),
    lagSeconds: gauge("annals_lag_seconds", "Age of the first message that a group has still to read.", "group"),
    deferred: gauge(
      "annals_deferred_messages",
      "Messages set aside: failed and to be tried again (retrying), or behind such a one (waiting).",
      "group",
      "state",
    ),
    deadLetters: gauge("annals_dead_letters", "Dead letters of a group.", "group"),
    outboxWaiting: gauge("annals_outbox_waiting", "Messages that have not reached the broker."),
    outboxAge: gauge("annals_outbox_oldest_seconds", "Age of the first message that has not reached the broker."),
    leases: gauge("annals_leases_held", "Partitions of a group that some process works on.", "group"),
    members: gauge("annals_members", "Processes that run the domain."),
    // This process.
    build: gauge("annals_build_info", "1; what runs, as labels.", "version", "deno", "store", "broker"),
    started: gauge("process_start_time_seconds", "Start of the process, in seconds since 1970."),
    cpu: counter("process_cpu_seconds_total", "CPU time of the process."),
    memory: gauge("process_resident_memory_bytes", "Resident memory of the process."),
  };
}

/** See {@linkcode instrumentsOf}. */
export type Instruments = ReturnType<typeof instrumentsOf>;
