import type { ReadLogOptions, ReadStreamOptions } from "../port.ts";
import type { Parameter } from "./commit.ts";

/** SQL with its parameters; `annals.` stands for the configured schema. */
export interface Query {
  /** The text. */
  readonly sql: string;
  /** The values of `$1`, `$2`, … */
  readonly values: readonly Parameter[];
}

// Payloads stay text. No cast may be named like an indexed column, because `order by` would sort by the alias.
const columns = (data: string): string =>
  `m.position, m.id, m.type, m.schema_version, m.category, m.stream, m.version, m.time,
  m.correlation_id, m.causation_id, ${data}, m.metadata::text`;
const MESSAGE = columns("m.data::text");

/** How much PostgreSQL compresses a payload, at most (about; pglz). */
const MOST_COMPRESSED = 100;

/** The same, with payloads of more than so many bytes left out; only those that may be are decompressed for it. */
function columnsOf(largest: number | undefined): string {
  if (largest === undefined) return MESSAGE;
  const most = Math.floor(largest);
  return columns(
    `case when pg_column_size(m.data) > ${most} then ''
      when pg_column_size(m.data) > ${
      Math.floor(most / MOST_COMPRESSED)
    } and octet_length(m.data::text) > ${most} then ''
      else m.data::text end`,
  );
}

/** Reads one stream. */
export function readStream(stream: string, options: ReadStreamOptions): Query {
  const { backward = false, limit = null } = options;
  const most = 2 ** 31 - 1;
  const [low, high] = backward ? [options.to ?? 0, options.from ?? most] : [options.from ?? 0, options.to ?? most];
  return {
    sql: `select ${MESSAGE} from annals.messages m where m.stream = $1 and m.version between $2 and $3
      order by m.version ${backward ? "desc" : "asc"} limit $4`,
    values: [stream, low, high, limit],
  };
}

/** Reads the log. */
export function readLog(options: ReadLogOptions): Query {
  const { after = 0, upTo = Number.MAX_SAFE_INTEGER, limit = 1000, backward = false } = options;
  const { category, type, correlationId, since, largest } = options;
  const values: Parameter[] = [after, upTo];
  let where = "m.position > $1 and m.position <= $2";
  for (
    const [condition, value] of [
      ["m.category =", category],
      ["m.type =", type],
      ["m.correlation_id =", correlationId],
      ["m.time >=", since],
    ] as const
  ) {
    if (value === undefined) continue;
    values.push(value);
    where += ` and ${condition} $${values.length}`;
  }
  values.push(limit);
  const order = backward ? "desc" : "asc";
  // Order by all columns of the index, so that the planner scans it instead of sorting, regardless of statistics.
  const by = category === undefined ? `m.position ${order}` : `m.category ${order}, m.position ${order}`;
  return {
    sql: `select ${columnsOf(largest)} from annals.messages m where ${where} order by ${by} limit $${values.length}`,
    values,
  };
}

/** Counts messages of a category after a position, with the time of the first. */
export function lag(category: string, after: number): Query {
  return {
    sql: `select (select count(*) from annals.messages m where m.category = $1 and m.position > $2),
      (select m.time from annals.messages m where m.category = $1 and m.position > $2
       order by m.category, m.position limit 1)`,
    values: [category, after],
  };
}

/** The last position. */
export const LAST_POSITION = "select coalesce(max(m.position), 0) from annals.messages m";

/** The number of waiting rows, the time of the oldest, and the last published position. */
export const OUTBOX_STATUS = "select waiting, oldest, published from annals.outbox_status()";
