/** The tables of one kind of file. */
export interface Schema {
  /** Marks a file as ours, and as of this kind. */
  readonly applicationId: number;
  /** How the tables came to be what they are. A migration is never edited once released: changes are new ones. */
  readonly migrations: readonly { readonly name: string; readonly sql: string }[];
}

/**
 * The tables of the store.
 *
 * Times are milliseconds since 1970. JSON is text, so that it can be read with `sqlite3` and its `->` operators.
 */
export const STORE_SCHEMA: Schema = {
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
  }],
};

/** The tables of the embedded broker: a copy of the log that may be deleted at any time. */
export const BROKER_SCHEMA: Schema = {
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
