import type { Schema } from "../../sqlite/schema.ts";
import { BrokerUnavailableError } from "../errors.ts";

/** The tables of the embedded broker: a copy of the log that may be deleted at any time. */
export const BROKER_SCHEMA: Schema = {
  unavailable: (message, _reason, retryable) => new BrokerUnavailableError(message, retryable),
  applicationId: 0x414e4e42, // ANNB
  migrations: [{
    name: "streams, entries, groups",
    sql: `-- Of which log this is a copy.
create table broker_log (id text not null) strict;
create table broker_streams (stream text primary key, last integer not null) strict, without rowid;
create table broker_entries (
  stream   text    not null,
  position integer not null,
  message  text    not null,
  primary key (stream, position)
) strict, without rowid;
create table broker_groups (
  stream    text    not null,
  "group"   text    not null,
  delivered integer not null,
  primary key (stream, "group")
) strict, without rowid;
create table broker_pending (
  stream       text    not null,
  "group"      text    not null,
  position     integer not null,
  consumer     text    not null,
  delivered_at integer not null,
  deliveries   integer not null,
  primary key (stream, "group", position)
) strict, without rowid;
`,
  }, {
    name: "what was published before each entry",
    sql: `
alter table broker_entries add column previous integer not null default 0;
`,
  }],
};
