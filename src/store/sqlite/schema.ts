import type { Schema } from "../../sqlite/schema.ts";
import { StoreUnavailableError } from "../errors.ts";

/**
 * The tables of the store.
 *
 * Times are milliseconds since 1970. JSON is text, so that it can be read with `sqlite3` and its `->` operators.
 */
export const STORE_SCHEMA: Schema = {
  unavailable: (message, reason, retryable) => new StoreUnavailableError(message, reason, retryable),
  applicationId: 0x414e4e4c, // ANNL
  migrations: [{
    name: "log, outbox, groups, dead letters, projections",
    sql: `
-- The log. The rowid is the position: one writer at a time, so it grows in commit order without gaps.
create table messages (
  position       integer primary key,
  id             text    not null,
  type           text    not null,
  schema_version integer not null,
  category       text    not null,
  stream         text    not null,
  version        integer not null,
  time           integer not null,
  correlation_id text    not null,
  causation_id   text,
  data           text    not null,
  metadata       text
) strict;
-- Reads of one stream, and the last guard of optimistic concurrency.
create unique index messages_stream on messages (stream, version);
-- Reads of a category by position.
create index messages_category on messages (category, position);

-- What the relay has still to take to the broker.
create table outbox (position integer primary key) strict;
-- How far it has come: one row.
create table relay (id integer primary key check (id = 1), published integer not null) strict;
insert into relay values (1, 0);

create table checkpoints (
  "group"    text    not null,
  category   text    not null,
  partitions integer not null,
  partition  integer not null,
  position   integer not null,
  primary key ("group", category, partitions, partition)
) strict, without rowid;

create table leases (
  name       text    primary key,
  "group"    text    not null,
  partitions integer not null,
  owner      text    not null,
  token      integer not null,
  expires_at integer not null,
  clean      integer not null
) strict, without rowid;

create table parked (
  "group"  text    not null,
  position integer not null,
  category text    not null,
  stream   text    not null,
  attempts integer not null,
  due_at   integer not null,
  failures text    not null,
  replayed integer not null,
  primary key ("group", position)
) strict, without rowid;
-- Replays that were not picked up yet: almost always none.
create index parked_replayed on parked ("group") where replayed = 1;

create table dead_letters (
  id       text    primary key,
  "group"  text    not null,
  message  text    not null,
  reason   text    not null,
  error    text    not null,
  stack    text,
  attempts text    not null,
  dead_at  integer not null
) strict, without rowid;
create index dead_letters_group on dead_letters ("group", id);

create table projections (
  projection text    not null,
  key        text    not null,
  row        text    not null,
  position   integer not null,
  primary key (projection, key)
) strict, without rowid;

create table outcomes (command_id text primary key, status text not null, detail text not null) strict, without rowid;
-- Which log this is: brokers remember whose copy they have.
create table identity (id text not null) strict;
insert into identity values (lower(hex(randomblob(16))));

create table once (key text primary key, value text not null) strict, without rowid;
`,
  }, {
    name: "processes that take part",
    sql: `
create table members (owner text primary key, types text not null, expires_at integer not null) strict, without rowid;
`,
  }, {
    name: "unique values in a category that no aggregate can have",
    sql: `
update messages set stream = replace(category, '::reservation', '::$reservation') || substr(stream, length(category) + 1),
  category = replace(category, '::reservation', '::$reservation')
where category like '%::reservation' and type in ('ValueReserved', 'ValueReleased')
  and data->>'field' is not null and data->>'value' is not null and data->>'holder' is not null;
`,
  }, {
    name: "how the work of a group ended",
    sql: `
alter table leases add column ends text;
`,
  }, {
    name: "deferred messages, the domain of the log",
    sql: `
alter table parked rename to deferred;
alter table deferred add column awaits text;
drop index parked_replayed;
create index deferred_replayed on deferred ("group") where replayed = 1;
-- Whose log this is: two domains in one file would take each other's groups for their own.
alter table identity add column domain text;
`,
  }, {
    name: "what was said when a lease was granted",
    sql: `
alter table leases add column granted integer;
`,
  }, {
    name: "messages that are appended later",
    sql: `
create table schedule (
  key      text    primary key,
  due_at   integer not null,
  category text    not null,
  stream   text    not null,
  id       text    not null,
  message  text    not null
) strict, without rowid;
create index schedule_due on schedule (due_at, key);
`,
  }, {
    name: "when outcomes and keys were made",
    sql: `
alter table outcomes add column at integer not null default 0;
alter table once add column at integer not null default 0;
update outcomes set at = unixepoch() * 1000;
update once set at = unixepoch() * 1000;
create index outcomes_at on outcomes (at);
create index once_at on once (at);
`,
  }, {
    name: "tags of messages",
    sql: `
-- What boundaries find messages by. The type stands here too, so that a condition is answered by this table alone.
create table tags (
  tag      text    not null,
  position integer not null,
  type     text    not null,
  primary key (tag, position)
) strict, without rowid;
`,
  }, {
    name: "snapshots of states; what is scheduled, by its message",
    sql: `
-- A key of idempotency is kept while its command waits.
create index schedule_id on schedule (id);
create table snapshots (
  stream      text    primary key,
  version     integer not null,
  message     text    not null,
  fingerprint text    not null,
  state       text    not null
) strict;
`,
  }, {
    name: "generations of projections",
    sql: `
create table generations (
  projection text    not null,
  generation text    not null,
  rows       text    not null,
  "group"    text    not null,
  state      text    not null,
  is_active  integer not null,
  is_pinned  integer not null,
  swapped_at integer,
  error      text,
  primary key (projection, generation)
) strict, without rowid;
-- What readers see.
create unique index generations_active on generations (projection) where is_active;
`,
  }],
};
