import type { ReadLogOptions, ReadStreamOptions, Tagged } from "../port.ts";
import type { CategoryRange } from "../behind.ts";
import { arrayLiteral, type Parameter } from "./commit.ts";

/** A UUID; other texts cannot be ids, so they are not queried. */
export const UUID = /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i;

/** A UUID that nothing has. */
const NIL = "00000000-0000-0000-0000-000000000000";

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

/**
 * Collects the conditions of a query and their values.
 *
 * Two bounds of one column are a trap: where PostgreSQL has no statistics yet (a log that was just filled), it takes them
 * for a range of 0.5% of the table, and reads and sorts all that is really in it, for each page. So a bound that excludes
 * nothing is left out.
 */
class Conditions {
  readonly values: Parameter[] = [];
  #texts: string[] = [];

  add(condition: string, value: Parameter | undefined): this {
    if (value !== undefined) this.#texts.push(`${condition} ${this.value(value)}`);
    return this;
  }

  value(value: Parameter): string {
    return `$${this.values.push(value)}`;
  }

  get where(): string {
    return this.#texts.length === 0 ? "" : `where ${this.#texts.join(" and ")}`;
  }
}

/** Reads one stream. */
export function readStream(
  stream: string,
  { from, to, limit, backward = false, largest }: ReadStreamOptions,
): Query {
  const found = new Conditions().add("m.stream =", stream);
  found.add("m.version >=", backward ? to : from).add("m.version <=", backward ? from : to);
  const order = backward ? "desc" : "asc";
  return {
    sql: `select ${
      columnsOf(largest)
    } from annals.messages m ${found.where} order by m.stream ${order}, m.version ${order}${
      limit === undefined ? "" : ` limit ${found.value(limit)}`
    }`,
    values: found.values,
  };
}

/** Reads the log. */
export function readLog(options: ReadLogOptions): Query {
  const { after, upTo, limit = 1000, backward = false } = options;
  const { category, type, correlationId, id, since, largest } = options;
  const found = new Conditions().add("m.category =", category).add("m.type =", type)
    .add("m.correlation_id =", correlationId).add("m.time >=", since);
  if (id !== undefined) found.add("m.id =", UUID.test(id) ? id : NIL);
  const range: [condition: string, position: number | undefined][] = [["m.position >", after], ["m.position <=", upTo]];
  const [first, last] = backward ? range.reverse() : range;
  // What follows the last one is cut off, where that is a page at most.
  const isCut = category !== undefined && found.values.length === 1;
  found.add(...first);
  if (!isCut) found.add(...last);
  const order = backward ? "desc" : "asc";
  // Order by all columns of the index, so that the planner scans it instead of sorting.
  const by = category === undefined ? `m.position ${order}` : `m.category ${order}, m.position ${order}`;
  const sql = `select ${columnsOf(largest)} from annals.messages m ${found.where} order by ${by} limit ${
    found.value(limit)
  }`;
  const [condition, bound] = last;
  if (!isCut || bound === undefined) return { sql, values: found.values };
  return { sql: `select * from (${sql}) m where ${condition} ${found.value(bound)}`, values: found.values };
}

/** Reads the messages at some positions. */
export function readAt(positions: readonly number[], largest: number | undefined): Query {
  return {
    sql: `select ${columnsOf(largest)} from annals.messages m where m.position = any($1::bigint[]) order by m.position`,
    values: [`{${positions.join(",")}}`],
  };
}

/** Reads the messages with some tags and types: the last position in front of each, alone if there is none. */
export function readTagged(
  among: readonly Tagged[],
  { after = 0, upTo, limit }: Pick<ReadLogOptions, "after" | "upTo" | "limit">,
): Query {
  // One range of the index for each tag.
  // Not of parts of the log that were detached: a page would come back short.
  const sql = `select l.last, f.* from (
      select coalesce(max(m.position), 0), coalesce(min(m.position), 1) from annals.messages m
    ) l(last, first) left join lateral (
      select ${MESSAGE} from (
        select distinct t.position
        from json_to_recordset($1::text::json) x(tag text, types text[])
        join lateral (
          select t.position from annals.tags t
          where t.tag = x.tag and t.position > greatest($2, l.first - 1) ${
    upTo === undefined ? "" : "and t.position <= $4"
  }
            and t.type = any(x.types)
          order by t.tag, t.position limit $3
        ) t on true
        order by t.position limit $3
      ) t join annals.messages m on m.position = t.position
    ) f on true order by f.position`;
  return { sql, values: [JSON.stringify(among), after, limit ?? null, ...(upTo === undefined ? [] : [upTo])] };
}

/** For each range of a category: the number of its messages, and the time of the first from there on. */
export function lags(ranges: readonly CategoryRange[]): Query {
  return {
    sql: `select (select count(*) from annals.messages m
        where m.category = r.category and m.position > r.after and m.position <= r.up_to),
      (select m.time from annals.messages m where m.category = r.category and m.position > r.after
       order by m.category, m.position limit 1)
      from unnest($1::text[], $2::bigint[], $3::bigint[]) with ordinality r(category, after, up_to, n) order by r.n`,
    values: [
      arrayLiteral(ranges.map(({ category }) => category)),
      `{${ranges.map(({ after }) => after).join(",")}}`,
      `{${ranges.map(({ upTo }) => upTo).join(",")}}`,
    ],
  };
}

/** The last position. */
export const LAST_POSITION = "select coalesce(max(m.position), 0) from annals.messages m";

/** The number of waiting rows, the time of the oldest, and the last published position. */
export const OUTBOX_STATUS = "select waiting, oldest, published from annals.outbox_status()";
