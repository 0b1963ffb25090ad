/** How the tables came to be what they are. A migration is never edited once released: changes are new ones. */
export interface Migration {
  /** What it does. */
  readonly name: string;
  /** SQL; `annals.` stands for the configured schema. */
  readonly sql: string;
}

/** What the function that writes commits does with messages that are appended later. */
interface Scheduling {
  readonly documents: string;
  readonly declared: string;
  readonly checked: string;
  readonly refused: string;
  readonly written: string;
}

/** Before there were any. */
const UNSCHEDULED: Scheduling = { documents: "seven", declared: "", checked: "", refused: "", written: "" };

/** A message is released only as it was read; whoever changes the same rows waits for us, or we for him. */
const SCHEDULED: Scheduling = {
  documents: "ten",
  declared: "  changed int[];\n  moment bigint;\n",
  checked: `  if docs[10] is not null then
    perform from annals.schedule s where s.key in (select x.key from json_to_recordset(docs[10]::json) as x(key text))
      order by s.key for update;
    changed := array(
      select distinct x.c from json_to_recordset(docs[10]::json) as x(c int, key text, id uuid, "dueAt" bigint)
      where not exists (select from annals.schedule s where s.key = x.key and s.id = x.id and s.due_at = x."dueAt"));
  end if;
`,
  refused: `    elsif c = any(changed) then
      status[c] := 4;
`,
  written: `  if docs[10] is not null then
    delete from annals.schedule s using json_to_recordset(docs[10]::json) as x(c int, key text)
      where commit.status[x.c] = 0 and s.key = x.key;
  end if;
  if docs[8] is not null then
    delete from annals.schedule s using json_to_recordset(docs[8]::json) as x(c int, key text)
      where commit.status[x.c] = 0 and s.key = x.key;
  end if;
  if docs[9] is not null then
    moment := annals.server_time();
    insert into annals.schedule
      select x.key, coalesce(x.at, moment + x.after), x.category, x.stream, x.id, x.message
      from json_to_recordset(docs[9]::json)
        as x(c int, key text, at bigint, after bigint, category text, stream text, id uuid, message json)
      where commit.status[x.c] = 0
    on conflict (key) do update set due_at = excluded.due_at, category = excluded.category, stream = excluded.stream,
      id = excluded.id, message = excluded.message;
  end if;
`,
};

/** What the function that writes commits does with tags of messages. */
interface Tags {
  readonly documents: string;
  readonly declared: string;
  readonly appending: string;
  readonly checked: string;
  readonly refused: string;
  readonly recorded: string;
}

/** Before there were any. */
const UNTAGGED: Omit<Tags, "documents"> = { declared: "", appending: "k > 0", checked: "", refused: "", recorded: "" };

/** Under the lock of appends, a condition holds until the commit is visible. */
const TAGGED: Tags = {
  documents: "thirteen",
  declared: "  surpassed int[];\n",
  appending: "k > 0 or docs[11] is not null",
  checked: `  if docs[11] is not null then
    surpassed := array(
      select distinct x.c from json_to_recordset(docs[11]::json) as x(c int, tag text, types text[], after bigint)
      where exists (
        select from annals.tags t where t.tag = x.tag and t.position > x.after and t.type = any(x.types)));
  end if;
`,
  refused: `    elsif c = any(surpassed) then
      status[c] := 5;
`,
  recorded: `  if docs[12] is not null then
    insert into annals.tags
      select t.tag, places[x.a] + x.o, x.type
      from json_to_recordset(docs[12]::json) as x(a int, o int, type text, tags text[]), unnest(x.tags) t(tag)
      where bases[x.a] > -2
    on conflict do nothing;
  end if;
  if docs[13] is not null then
    insert into annals.tags
      select x.tag, x.position, x.type
      from json_to_recordset(docs[13]::json) as x(c int, tag text, position bigint, type text)
      where commit.status[x.c] = 0
    on conflict do nothing;
  end if;
`,
};

/** How the function that writes commits finds the versions of streams, and what else it writes of messages. */
interface Versions {
  readonly declared: string;
  readonly versions: string;
  readonly recorded: string;
}

const LATEST = (indent: string): string =>
  `${indent}versions := array(
${indent}  select coalesce((select m.version from annals.messages m where m.stream = x.stream order by m.version desc limit 1), -1)
${indent}  from unnest(streams) with ordinality x(stream, n) order by x.n);
`;

/** Of a log that is one table: its indexes know. */
const WHOLE: Versions = { declared: "", versions: LATEST("    "), recorded: "" };

/** Of a log that may be partitioned: an index of one part knows nothing of the others. */
const PARTITIONED: Versions = {
  declared: "  cut boolean;\n",
  versions: `    cut := (select i.partitioned from annals.identity i);
    if cut then
      versions := array(
        select coalesce((select h.version from annals.stream_heads h where h.stream = x.stream), -1)
        from unnest(streams) with ordinality x(stream, n) order by x.n);
    else
${LATEST("      ")}    end if;
`,
  recorded: `    if cut then
      insert into annals.message_ids
        select x.id::uuid from unnest(numbers[columns + 1 : columns + m], texts[at + 1 : at + m]) x(append, id)
        where bases[x.append] > -2;
      insert into annals.stream_heads
        select streams[x.stream], versions[x.stream]
        from (select distinct a_stream[a] as stream from generate_series(1, k) a where a_count[a] > 0 and bases[a] > -2) x
      on conflict (stream) do update set version = excluded.version;
    end if;
`,
};

/** What the function that writes commits does with rows that several workers may change. */
interface SharedRows {
  readonly documents?: string;
  readonly written: string;
}

/** Before they could. */
const UNSHARED: SharedRows = { written: "" };

/**
 * A row is written only as it was read. Whoever changes the same ones waits for us, or we for him: then one of us is told,
 * by an error, and the call is made again without those of others.
 */
const SHARED: SharedRows = {
  documents: "fourteen",
  written: `  if docs[14] is not null then
    perform from annals.projections p
      join json_to_recordset(docs[14]::json) as x(projection text, key text) using (projection, key)
      order by p.projection, p.key for update of p;
    with x as (
      select * from json_to_recordset(docs[14]::json)
        as x(c int, projection text, key text, "row" text, position bigint, expected bigint)
      where commit.status[x.c] = 0
    ), made as (
      insert into annals.projections select x.projection, x.key, x."row"::json, x.position from x
        where x.expected = 0 and x."row" is not null
      on conflict do nothing returning 1
    ), changed as (
      update annals.projections p set "row" = x."row"::json, position = x.position from x
        where x.expected > 0 and x."row" is not null
          and p.projection = x.projection and p.key = x.key and p.position = x.expected
      returning 1
    ), removed as (
      delete from annals.projections p using x
        where x.expected > 0 and x."row" is null
          and p.projection = x.projection and p.key = x.key and p.position = x.expected
      returning 1
    ), absent as (
      -- One that was made and is to be deleted within a batch.
      select from x where x.expected = 0 and x."row" is null
        and not exists (select from annals.projections p where p.projection = x.projection and p.key = x.key)
    )
    select (select count(*) from x) - (select count(*) from made) - (select count(*) from changed)
      - (select count(*) from removed) - (select count(*) from absent) into bad;
    if bad <> 0 then raise exception 'a row is not as it was read' using errcode = 'AN002'; end if;
  end if;
`,
};

/** The function that writes commits; it has been created with more than one end. */
const commitFunction = (
  create: string,
  end: string,
  { declared, versions, recorded } = WHOLE,
  schedule = UNSCHEDULED,
  tags: Tags = { documents: schedule.documents, ...UNTAGGED },
  rows = UNSHARED,
): string => `
-- Appends and everything that must agree with it, for many commits of one process at once, each with its own fate:
-- one call, one transaction.
--   numbers, texts  columns of the commits (c_*), of their appends (a_*) and of the messages in these (m_*), one behind
--                   the other, in the order in which they are taken out below; how long each is stands in front
--   data, metadata  JSON of each message, separated by \\x1e, which JSON text never contains
--   rest            what else is written: ${
  rows.documents ?? tags.documents
} JSON documents (each may be empty), separated likewise
--   origin          who writes: goes with the notification, so that nobody is woken by what he knows already
${create} annals.commit(
  numbers bigint[], texts text[], data text, metadata text, rest text, origin text,
  out status int[], out detail bigint[], out culprit int[], out bases int[], out repeated text[]
) language plpgsql set jit = off as $$
declare
  -- How many commits, streams, appends and messages.
  n int := numbers[1]; s int := numbers[2]; k int := numbers[3]; m int := numbers[4];
  c_first bigint[]; c_last bigint[]; c_token bigint[];
  a_stream bigint[]; a_expected bigint[]; a_count bigint[];
  streams text[]; c_lease text[]; c_once text[]; c_value text[];
  docs text[] := string_to_array(rest, e'\\x1e', '');
  at int := 4;
  columns int;
  versions int[];
  tokens bigint[];
  places bigint[];
  last bigint;
${declared}${schedule.declared}${tags.declared}  x int; v int; e int; bad int;
begin
  c_first := numbers[at + 1 : at + n]; at := at + n;
  c_last := numbers[at + 1 : at + n]; at := at + n;
  c_token := numbers[at + 1 : at + n]; at := at + n;
  a_stream := numbers[at + 1 : at + k]; at := at + k;
  a_expected := numbers[at + 1 : at + k]; at := at + k;
  a_count := numbers[at + 1 : at + k]; at := at + k;
  columns := at;
  at := 0;
  streams := texts[at + 1 : at + s]; at := at + s;
  c_lease := texts[at + 1 : at + n]; at := at + n;
  c_once := texts[at + 1 : at + n]; at := at + n;
  c_value := texts[at + 1 : at + n]; at := at + n;
  places := array_fill(0::bigint, array[k]);
  -- Whoever gives or takes a lease waits for us, so a fence that was seen whole is whole until we are through.
  perform pg_advisory_xact_lock_shared(annals_lease_lock);
  if ${tags.appending} then
    perform pg_advisory_xact_lock(annals_append_lock);
    select coalesce(max(m.position), 0) into last from annals.messages m;
${versions}  end if;
  status := array_fill(0, array[n]);
  detail := array_fill(0::bigint, array[n]);
  culprit := array_fill(0, array[n]);
  bases := array_fill(-2, array[k]);
  if array_remove(c_lease, null) <> '{}' then
    tokens := array(
      select coalesce((select l.token from annals.leases l where l.name = x.lease), 0)
      from unnest(c_lease) with ordinality x(lease, n) order by x.n);
  end if;
  if array_remove(c_once, null) <> '{}' then
    repeated := array(
      select (select o.value from annals.once o where o.key = x.key)
      from unnest(c_once) with ordinality x(key, n) order by x.n);
  end if;
${schedule.checked}${tags.checked}  for c in 1..n loop
    if c_lease[c] is not null and tokens[c] <> c_token[c] then
      status[c] := 2;
    elsif repeated[c] is not null then
      status[c] := 3;
${schedule.refused}${tags.refused}    else
      bad := 0;
      for a in c_first[c]..c_last[c] loop
        x := a_stream[a]; v := versions[x]; e := a_expected[a];
        if e >= -1 and v <> e or e = -2 and v < 0 then
          bad := a;
          status[c] := 1; culprit[c] := a; detail[c] := v;
          exit;
        end if;
        bases[a] := v;
        versions[x] := v + a_count[a];
      end loop;
      if bad > 0 then
        for a in c_first[c]..bad - 1 loop
          versions[a_stream[a]] := versions[a_stream[a]] - a_count[a];
          bases[a] := -2;
        end loop;
      elsif c_first[c] <= c_last[c] then
        for a in c_first[c]..c_last[c] loop
          places[a] := last;
          last := last + a_count[a];
          if a_count[a] > 0 then detail[c] := last; end if;
        end loop;
      end if;
    end if;
  end loop;
  if m > 0 then
    insert into annals.messages
      select places[m.append] + m.ord, m.id::uuid, m.type, m.schema, m.category, m.stream, bases[m.append] + m.ord, m.time,
        m.correlation, m.causation, m.data::json, nullif(m.metadata, '')::json, m.publish = 1
      from unnest(
          numbers[columns + 1 : columns + m], numbers[columns + m + 1 : columns + 2 * m],
          numbers[columns + 2 * m + 1 : columns + 3 * m], numbers[columns + 3 * m + 1 : columns + 4 * m],
          numbers[columns + 4 * m + 1 : columns + 5 * m],
          texts[at + 1 : at + m], texts[at + m + 1 : at + 2 * m], texts[at + 2 * m + 1 : at + 3 * m],
          texts[at + 3 * m + 1 : at + 4 * m], texts[at + 4 * m + 1 : at + 5 * m], texts[at + 5 * m + 1 : at + 6 * m],
          string_to_array(data, e'\\x1e'), string_to_array(metadata, e'\\x1e'))
        as m(append, ord, schema, time, publish, id, type, category, stream, correlation, causation, data, metadata)
      where bases[m.append] > -2;
${recorded}  end if;
${tags.recorded}  if repeated is not null then
    insert into annals.once
      select c_once[c], c_value[c] from generate_series(1, n) c where status[c] = 0 and c_once[c] is not null;
  end if;
  -- What belongs to commits besides messages. No two commits of one call write to the same row.
  if docs[1] is not null then
    insert into annals.checkpoints
      select x."group", x.category, x.partitions, x.partition, x.position
      from json_to_recordset(docs[1]::json)
        as x(c int, "group" text, category text, partitions int, partition int, position bigint)
      where commit.status[x.c] = 0
    on conflict ("group", category, partitions, partition) do update set position = excluded.position;
  end if;
  if docs[2] is not null then
    delete from annals.deferred p using json_to_recordset(docs[2]::json) as x(c int, "group" text, position bigint)
      where commit.status[x.c] = 0 and p."group" = x."group" and p.position = x.position;
  end if;
  if docs[3] is not null then
    insert into annals.deferred
      select x."group", x.position, x.category, x.stream, x.attempts, x."dueAt", x.failures, x.replayed, x.awaits
      from json_to_recordset(docs[3]::json) as x(c int, "group" text, position bigint, category text, stream text,
        attempts int, "dueAt" bigint, failures json, replayed boolean, awaits text)
      where commit.status[x.c] = 0
    on conflict ("group", position) do update set attempts = excluded.attempts, due_at = excluded.due_at,
      failures = excluded.failures, replayed = excluded.replayed, awaits = excluded.awaits;
  end if;
  if docs[4] is not null then
    insert into annals.dead_letters
      select x.id, x."group", x.message, x.reason, x.error, x.stack, x.attempts, x."deadAt"
      from json_to_recordset(docs[4]::json) as x(c int, id uuid, "group" text, message json, reason text,
        error text, stack text, attempts json, "deadAt" bigint)
      where commit.status[x.c] = 0
    on conflict (id) do nothing;
  end if;
  if docs[5] is not null then
    insert into annals.projections
      select x.projection, x.key, x."row"::json, x.position
      from json_to_recordset(docs[5]::json) as x(c int, projection text, key text, "row" text, position bigint)
      where commit.status[x.c] = 0 and x."row" is not null
    on conflict (projection, key) do update set "row" = excluded."row", position = excluded.position;
  end if;
  if docs[6] is not null then
    delete from annals.projections p
      using json_to_recordset(docs[6]::json) as x(c int, projection text, key text)
      where commit.status[x.c] = 0 and p.projection = x.projection and p.key = x.key;
  end if;
  if docs[7] is not null then
    insert into annals.outcomes
      select x."commandId"::uuid, x.status, x.detail
      from json_to_recordset(docs[7]::json) as x(c int, "commandId" text, status text, detail text)
      where commit.status[x.c] = 0
    on conflict (command_id) do update set status = excluded.status, detail = excluded.detail;
  end if;
${rows.written}${schedule.written}${end}end $$;
`;

/** Grants tables to whoever may write messages. */
const grantAs = (privileges: string, ...tables: string[]): string =>
  `-- Whoever may write messages writes these.
do $grants$
declare x record;
begin
  for x in select distinct case when a.grantee = 0 then 'public' else a.grantee::regrole::text end as role
    from pg_class c, aclexplode(c.relacl) a
    where c.oid = 'annals.messages'::regclass and a.grantee <> c.relowner and a.privilege_type = 'INSERT'
  loop
    execute format('grant ${privileges} on ${tables.map(() => "%s").join(", ")} to %s',
      ${tables.map((table) => `'${table}'::regclass`).join(", ")}, x.role);
  end loop;
end $grants$;
`;

/** What the relay has still to publish; bound to the table of messages that there is when it is made. */
export const OUTBOX_VIEW = `view annals.outbox as
  select m.* from annals.messages m, annals.relay r where m.publish and m.position > r.published`;

/** How a commit told of itself at first. */
const NOTIFY_ALWAYS =
  `  -- A queue of notifications that nobody empties must not fail commits; whoever waits also looks by itself.
  if pg_notification_queue_usage() < 0.5 then
    perform pg_notify('annals_channel', origin || case when m > 0 then ' messages' else ' ' end);
  end if;
`;

/**
 * A notification keeps every other commit of the cluster waiting until its own is on disk (`PreCommit_Notify` of
 * PostgreSQL), as commits with messages do anyway, which take positions in order. Whatever else was written is told of
 * afterwards.
 */
const NOTIFY_MESSAGES =
  `  -- A queue of notifications that nobody empties must not fail commits; whoever waits also looks by itself.
  if m > 0 and pg_notification_queue_usage() < 0.5 then
    perform pg_notify('annals_channel', origin || ' messages');
  end if;
`;

/**
 * The tables and functions of the store.
 *
 * Times are milliseconds since 1970. Payloads are `json`, kept byte for byte, so that `data->>'amount'` works.
 */
export const MIGRATIONS: readonly Migration[] = [{
  name: "log, groups, dead letters, projections",
  sql: `
-- Which log this is (brokers remember whose copy they have), and of which domain.
create table annals.identity (id text not null, domain text);
insert into annals.identity values (gen_random_uuid()::text, null);

-- The log. Positions are given under a lock that is held until the commit is visible: no gaps, and nothing ever
-- appears behind a position that somebody has read. What the relay has still to take to the broker are the rows to be
-- published behind relay.published: an outbox without a second row to write and to delete.
create table annals.messages (
  position       bigint  primary key,
  id             uuid    not null,
  type           text    not null,
  schema_version integer not null,
  category       text    not null,
  stream         text    not null,
  version        integer not null,
  time           bigint  not null,
  correlation_id text    not null,
  causation_id   text,
  data           json    not null,
  metadata       json,
  publish        boolean not null
);
-- Reads of one stream, and the last guard of optimistic concurrency.
create unique index messages_stream on annals.messages (stream, version);
-- Reads of a category by position.
create index messages_category on annals.messages (category, position);
-- An append that is repeated after its connection broke is recognised.
create unique index messages_id on annals.messages (id);

create table annals.relay (id integer primary key check (id = 1), published bigint not null);
insert into annals.relay values (1, 0);

create ${OUTBOX_VIEW};

create table annals.checkpoints (
  "group"    text    not null,
  category   text    not null,
  partitions integer not null,
  partition  integer not null,
  position   bigint  not null,
  primary key ("group", category, partitions, partition)
) with (fillfactor = 50);

create table annals.leases (
  name       text    primary key,
  "group"    text    not null,
  partitions integer not null,
  owner      text    not null,
  token      bigint  not null,
  expires_at bigint  not null,
  clean      boolean not null
) with (fillfactor = 50);

create table annals.members (
  owner      text   primary key,
  types      json   not null,
  expires_at bigint not null
) with (fillfactor = 50);

create table annals.parked (
  "group"  text    not null,
  position bigint  not null,
  category text    not null,
  stream   text    not null,
  attempts integer not null,
  due_at   bigint  not null,
  failures json    not null,
  replayed boolean not null,
  primary key ("group", position)
);
-- Replays that were not picked up yet: almost always none.
create index parked_replayed on annals.parked ("group") where replayed;

create table annals.dead_letters (
  id       uuid   primary key,
  "group"  text   not null,
  message  json   not null,
  reason   text   not null,
  error    text   not null,
  stack    text,
  attempts json   not null,
  dead_at  bigint not null
);
create index dead_letters_group on annals.dead_letters ("group", id);

create table annals.projections (
  projection text   not null,
  key        text   not null collate "C",
  "row"      json   not null,
  position   bigint not null,
  primary key (projection, key)
) with (fillfactor = 80);

create table annals.outcomes (command_id uuid primary key, status text not null, detail text not null);
create table annals.once (key text primary key, value text not null);

create function annals.server_time() returns bigint language sql volatile as
  $$ select (extract(epoch from clock_timestamp()) * 1000)::bigint $$;

-- Appends and everything that must agree with it, for many commits of one process at once, each with its own fate:
-- one call, one transaction. Arrays c_* have one element per commit, a_* per append, m_* per message.
create function annals.commit(
  streams text[],
  c_first int[], c_last int[], c_lease text[], c_token bigint[], c_once text[], c_value text[],
  a_stream int[], a_expected int[], a_count int[],
  m_append int[], m_ord int[], m_id uuid[], m_type text[], m_schema int[], m_category text[], m_stream text[],
  m_time bigint[], m_correlation text[], m_causation text[], m_data text, m_metadata text, m_publish boolean[],
  p_checkpoints json, p_unpark json, p_park json, p_dead json, p_rows json, p_removed json, p_outcomes json,
  out status int[], out detail bigint[], out culprit int[], out bases int[], out repeated text[]
) language plpgsql set jit = off as $$
declare
  n int := coalesce(cardinality(c_first), 0);
  versions int[];
  tokens bigint[];
  places bigint[] := array_fill(0::bigint, array[coalesce(cardinality(a_stream), 0)]);
  last bigint;
  s int; v int; e int; bad int;
begin
  -- Whoever gives or takes a lease waits for us, so a fence that was seen whole is whole until we are through.
  perform pg_advisory_xact_lock_shared(annals_lease_lock);
  if cardinality(a_stream) > 0 then
    perform pg_advisory_xact_lock(annals_append_lock);
    select coalesce(max(m.position), 0) into last from annals.messages m;
    versions := array(
      select coalesce((select m.version from annals.messages m where m.stream = x.stream order by m.version desc limit 1), -1)
      from unnest(streams) with ordinality x(stream, n) order by x.n);
  end if;
  status := array_fill(0, array[n]);
  detail := array_fill(0::bigint, array[n]);
  culprit := array_fill(0, array[n]);
  bases := array_fill(-2, array[coalesce(cardinality(a_stream), 0)]);
  if c_lease is not null then
    tokens := array(
      select coalesce((select l.token from annals.leases l where l.name = x.lease), 0)
      from unnest(c_lease) with ordinality x(lease, n) order by x.n);
  end if;
  if c_once is not null then
    repeated := array(
      select (select o.value from annals.once o where o.key = x.key)
      from unnest(c_once) with ordinality x(key, n) order by x.n);
  end if;
  for c in 1..n loop
    if c_lease is not null and c_lease[c] is not null and tokens[c] <> c_token[c] then
      status[c] := 2;
    elsif c_once is not null and repeated[c] is not null then
      status[c] := 3;
    else
      bad := 0;
      for a in c_first[c]..c_last[c] loop
        s := a_stream[a]; v := versions[s]; e := a_expected[a];
        if e >= -1 and v <> e or e = -2 and v < 0 then
          bad := a;
          status[c] := 1; culprit[c] := a; detail[c] := v;
          exit;
        end if;
        bases[a] := v;
        versions[s] := v + a_count[a];
      end loop;
      if bad > 0 then
        for a in c_first[c]..bad - 1 loop
          versions[a_stream[a]] := versions[a_stream[a]] - a_count[a];
          bases[a] := -2;
        end loop;
      elsif c_first[c] <= c_last[c] then
        for a in c_first[c]..c_last[c] loop
          places[a] := last;
          last := last + a_count[a];
          if a_count[a] > 0 then detail[c] := last; end if;
        end loop;
      end if;
    end if;
  end loop;
  if cardinality(m_append) > 0 then
    insert into annals.messages
      select places[m.append] + m.ord, m.id, m.type, m.schema, m.category, m.stream, bases[m.append] + m.ord, m.time,
        m.correlation, m.causation, m.data::json, nullif(m.metadata, '')::json, m.publish
      from unnest(m_append, m_ord, m_id, m_type, m_schema, m_category, m_stream, m_time, m_correlation, m_causation,
        string_to_array(m_data, e'\\x1e'), string_to_array(m_metadata, e'\\x1e'), m_publish)
        as m(append, ord, id, type, schema, category, stream, time, correlation, causation, data, metadata, publish)
      where bases[m.append] > -2;
  end if;
  if c_once is not null then
    insert into annals.once
      select c_once[c], c_value[c] from generate_series(1, n) c where status[c] = 0 and c_once[c] is not null;
  end if;
  -- What belongs to commits besides messages. No two commits of one call write to the same row.
  if p_checkpoints is not null then
    insert into annals.checkpoints
      select x."group", x.category, x.partitions, x.partition, x.position
      from json_to_recordset(p_checkpoints)
        as x(c int, "group" text, category text, partitions int, partition int, position bigint)
      where commit.status[x.c] = 0
    on conflict ("group", category, partitions, partition) do update set position = excluded.position;
  end if;
  if p_unpark is not null then
    delete from annals.parked p using json_to_recordset(p_unpark) as x(c int, "group" text, position bigint)
      where commit.status[x.c] = 0 and p."group" = x."group" and p.position = x.position;
  end if;
  if p_park is not null then
    insert into annals.parked
      select x."group", x.position, x.category, x.stream, x.attempts, x."dueAt", x.failures, x.replayed
      from json_to_recordset(p_park) as x(c int, "group" text, position bigint, category text, stream text,
        attempts int, "dueAt" bigint, failures json, replayed boolean)
      where commit.status[x.c] = 0
    on conflict ("group", position) do update set attempts = excluded.attempts, due_at = excluded.due_at,
      failures = excluded.failures, replayed = excluded.replayed;
  end if;
  if p_dead is not null then
    insert into annals.dead_letters
      select x.id, x."group", x.message, x.reason, x.error, x.stack, x.attempts, x."deadAt"
      from json_to_recordset(p_dead) as x(c int, id uuid, "group" text, message json, reason text,
        error text, stack text, attempts json, "deadAt" bigint)
      where commit.status[x.c] = 0
    on conflict (id) do nothing;
  end if;
  if p_rows is not null then
    insert into annals.projections
      select x.projection, x.key, x."row"::json, x.position
      from json_to_recordset(p_rows) as x(c int, projection text, key text, "row" text, position bigint)
      where commit.status[x.c] = 0 and x."row" is not null
    on conflict (projection, key) do update set "row" = excluded."row", position = excluded.position;
  end if;
  if p_removed is not null then
    delete from annals.projections p
      using json_to_recordset(p_removed) as x(c int, projection text, key text)
      where commit.status[x.c] = 0 and p.projection = x.projection and p.key = x.key;
  end if;
  if p_outcomes is not null then
    insert into annals.outcomes
      select x."commandId"::uuid, x.status, x.detail
      from json_to_recordset(p_outcomes) as x(c int, "commandId" text, status text, detail text)
      where commit.status[x.c] = 0
    on conflict (command_id) do update set status = excluded.status, detail = excluded.detail;
  end if;
  -- A queue of notifications that nobody empties must not fail commits; whoever waits also looks by itself.
  if pg_notification_queue_usage() < 0.5 then
    perform pg_notify('annals_channel', case when cardinality(m_append) > 0 then 'messages' else '' end);
  end if;
end $$;

create function annals.acquire_lease(
  p_name text, p_group text, p_partitions int, p_owner text, p_ttl bigint, p_now bigint,
  out token bigint, out clean boolean
) language plpgsql as $$
declare
  held annals.leases%rowtype;
  moment bigint := coalesce(p_now, annals.server_time());
begin
  -- Those who stand by ask again and again: only a grant is worth waiting for everybody.
  if exists (select from annals.leases l where l.expires_at > moment and
    (l.name = p_name and l.owner <> p_owner or l."group" = p_group and l.partitions <> p_partitions)) then
    return;
  end if;
  perform pg_advisory_xact_lock(annals_lease_lock);
  moment := coalesce(p_now, annals.server_time());
  if exists (select from annals.leases l where l.expires_at > moment and
    (l.name = p_name and l.owner <> p_owner or l."group" = p_group and l.partitions <> p_partitions)) then
    return;
  end if;
  select * into held from annals.leases l where l.name = p_name;
  token := coalesce(held.token, 0) + 1;
  -- Whoever still believes in another number of partitions is fenced with it.
  update annals.leases l set token = l.token + 1, expires_at = 0, clean = true
    where l."group" = p_group and l.partitions <> p_partitions and not l.clean;
  clean := coalesce(held.clean, true) and not found;
  insert into annals.leases values (p_name, p_group, p_partitions, p_owner, token, moment + p_ttl, false)
    on conflict (name) do update set "group" = excluded."group", partitions = excluded.partitions,
      owner = excluded.owner, token = excluded.token, expires_at = excluded.expires_at, clean = false;
end $$;

create function annals.release_lease(p_name text, p_token bigint, p_clean boolean) returns void language plpgsql as $$
begin
  perform pg_advisory_xact_lock(annals_lease_lock);
  -- The token moves on, so whoever held the lease is fenced from here.
  update annals.leases set token = token + 1, expires_at = 0, clean = p_clean where name = p_name and token = p_token;
end $$;

-- Most often there is nothing behind relay.published, which no statistics tell.
create function annals.outbox_status(out waiting bigint, out oldest bigint, out published bigint)
language plpgsql stable set enable_seqscan = off set enable_bitmapscan = off set jit = off as $$
begin
  select r.published into published from annals.relay r;
  select count(*) into waiting from annals.messages m where m.position > outbox_status.published and m.publish;
  select m.time into oldest from annals.messages m where m.position > outbox_status.published and m.publish
    order by m.position limit 1;
end $$;

create function annals.mark_published(p_position bigint, p_lease text, p_token bigint) returns boolean
language plpgsql as $$
begin
  perform pg_advisory_xact_lock_shared(annals_lease_lock);
  if p_lease is not null and not exists (select from annals.leases where name = p_lease and token = p_token) then
    return false;
  end if;
  update annals.relay set published = greatest(published, p_position) where published < p_position;
  -- Readers of a broker that does not wake them.
  if found and pg_notification_queue_usage() < 0.5 then
    perform pg_notify('annals_channel', '');
  end if;
  return true;
end $$;
`,
}, {
  name: "unique values in a category that no aggregate can have",
  sql: `
update annals.messages set stream = replace(category, '::reservation', '::$reservation') || substr(stream, length(category) + 1),
  category = replace(category, '::reservation', '::$reservation')
where category like '%::reservation' and type in ('ValueReserved', 'ValueReleased')
  and data->>'field' is not null and data->>'value' is not null and data->>'holder' is not null;
`,
}, {
  name: "how the work of a group ended",
  sql: `
alter table annals.leases add column ends json;
`,
}, {
  name: "deferred messages; commits in five parameters",
  sql: `
alter table annals.parked rename to deferred;
alter table annals.deferred add column awaits text;
alter index annals.parked_replayed rename to deferred_replayed;
drop function annals.commit;
${commitFunction("create function", NOTIFY_ALWAYS)}`,
}, {
  name: "commits name the history that they were made on",
  sql: `
-- Which history this database is at: every promotion and every recovery to a point in time begins a new timeline. What
-- was written to another one may be missing here. Empty where that cannot be told.
create function annals.lineage() returns text language plpgsql stable as $$
begin
  if pg_is_in_recovery() then return ''; end if;
  return substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8);
exception when others then
  return '';
end $$;

create function annals.check_lineage(p_lineage text) returns void language plpgsql as $$
begin
  if p_lineage <> '' and p_lineage <> substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) then
    raise exception 'the database is not at the timeline % any more', p_lineage using errcode = 'AN001';
  end if;
end $$;

-- The same as without a lineage, unless the writer has read from another timeline: what he knows may be wrong here.
create function annals.mark_published(p_position bigint, p_lease text, p_token bigint, p_lineage text) returns boolean
language plpgsql as $$
begin
  perform annals.check_lineage(p_lineage);
  return annals.mark_published(p_position, p_lease, p_token);
end $$;

create function annals.commit(
  numbers bigint[], texts text[], data text, metadata text, rest text, origin text, lineage text,
  out status int[], out detail bigint[], out culprit int[], out bases int[], out repeated text[]
) language plpgsql set jit = off as $$
begin
  perform annals.check_lineage(lineage);
  select c.status, c.detail, c.culprit, c.bases, c.repeated into status, detail, culprit, bases, repeated
    from annals.commit(numbers, texts, data, metadata, rest, origin) c;
end $$;
`,
}, {
  name: "commits without messages keep no others waiting",
  sql: commitFunction("create or replace function", NOTIFY_MESSAGES),
}, {
  name: "the log can be partitioned",
  sql: `
-- What no index of a partitioned table tells: the last version of each stream, and which ids there are. Used once the log
-- is partitioned; filled before, up to a position.
create table annals.stream_heads (stream text primary key, version integer not null) with (fillfactor = 80);
create table annals.message_ids (id uuid primary key);
alter table annals.identity
  add column partitioned boolean not null default false,
  add column heads_upto bigint not null default 0;
${grantAs("select, insert, update", "annals.stream_heads", "annals.message_ids")}${
    commitFunction("create or replace function", NOTIFY_MESSAGES, PARTITIONED)
  }`,
}, {
  name: "what was said when a lease was granted",
  sql: `
alter table annals.leases add column granted integer;

-- Servers of before go on with acquire_lease.
create function annals.grant_lease(
  p_name text, p_group text, p_partitions int, p_owner text, p_ttl bigint, p_now bigint, p_held bigint,
  out token bigint, out clean boolean, out again boolean
) language plpgsql as $$
declare
  held annals.leases%rowtype;
  moment bigint := coalesce(p_now, annals.server_time());
  said int;
begin
  if exists (select from annals.leases l where l.expires_at > moment and
    (l.name = p_name and l.owner <> p_owner or l."group" = p_group and l.partitions <> p_partitions)) then
    return;
  end if;
  perform pg_advisory_xact_lock(annals_lease_lock);
  moment := coalesce(p_now, annals.server_time());
  if exists (select from annals.leases l where l.expires_at > moment and
    (l.name = p_name and l.owner <> p_owner or l."group" = p_group and l.partitions <> p_partitions)) then
    return;
  end if;
  select * into held from annals.leases l where l.name = p_name;
  token := coalesce(held.token, 0) + 1;
  if held.owner = p_owner and held.expires_at > 0 and held.token <> p_held then
    -- Nothing has run under it: its answer was lost.
    said := coalesce(held.granted, 0);
  else
    said := coalesce(held.clean, true)::int;
    if held.owner = p_owner and p_held > 0
      and (held.token = p_held or held.expires_at = 0 and held.token = p_held + 1) then
      said := said + 2;
    end if;
  end if;
  -- Whoever still believes in another number of partitions is fenced with it.
  update annals.leases l set token = l.token + 1, expires_at = 0, clean = true, owner = ''
    where l."group" = p_group and l.partitions <> p_partitions and not l.clean;
  if found then
    said := 0;
    -- What may have been in flight there is now anybody's.
    insert into annals.leases (name, "group", partitions, owner, token, expires_at, clean)
      select p_group || '#' || i || '/' || p_partitions, p_group, p_partitions, '', 0, 0, false
        from generate_series(0, p_partitions - 1) i
      on conflict (name) do update set clean = false, owner = '';
  end if;
  clean := (said & 1) = 1;
  again := (said & 2) = 2;
  insert into annals.leases (name, "group", partitions, owner, token, expires_at, clean, granted)
    values (p_name, p_group, p_partitions, p_owner, token, moment + p_ttl, false, said)
    on conflict (name) do update set "group" = excluded."group", partitions = excluded.partitions,
      owner = excluded.owner, token = excluded.token, expires_at = excluded.expires_at, clean = false,
      granted = excluded.granted;
end $$;
`,
}, {
  name: "messages that are appended later",
  sql: `
create table annals.schedule (
  key      text   primary key collate "C",
  due_at   bigint not null,
  category text   not null,
  stream   text   not null,
  id       uuid   not null,
  message  json   not null
);
create index schedule_due on annals.schedule (due_at, key);
${grantAs("select, insert, update, delete", "annals.schedule")}
${commitFunction("create or replace function", NOTIFY_MESSAGES, PARTITIONED, SCHEDULED)}`,
}, {
  name: "when outcomes and keys were made",
  sql: `
-- Rows that there are count from now: a constant is no rewrite of the table.
do $now$
begin
  execute 'alter table ' || 'annals.outcomes'::regclass || ' add column at bigint not null default ' || annals.server_time();
  execute 'alter table ' || 'annals.once'::regclass || ' add column at bigint not null default ' || annals.server_time();
end $now$;
alter table annals.outcomes alter column at set default annals.server_time();
alter table annals.once alter column at set default annals.server_time();
-- They are in the order in which they were made, nearly.
create index outcomes_at on annals.outcomes using brin (at);
create index once_at on annals.once using brin (at);
`,
}, {
  name: "tags of messages",
  sql: `
-- What boundaries find messages by. The type stands here too, so that a condition is answered by this table alone.
create table annals.tags (
  tag      text   not null collate "C",
  position bigint not null,
  type     text   not null,
  primary key (tag, position)
);
${grantAs("select, insert", "annals.tags")}
${commitFunction("create or replace function", NOTIFY_MESSAGES, PARTITIONED, SCHEDULED, TAGGED)}`,
}, {
  name: "snapshots of states",
  sql: `
create table annals.snapshots (
  stream      text    primary key collate "C",
  version     integer not null,
  message     uuid    not null,
  fingerprint text    not null,
  state       text    not null
);
${grantAs("select, insert, update", "annals.snapshots")}`,
}, {
  name: "generations of projections",
  sql: `
create table annals.generations (
  projection text    not null,
  generation text    not null,
  rows       text    not null,
  "group"    text    not null,
  state      text    not null,
  is_active  boolean not null,
  is_pinned  boolean not null,
  swapped_at bigint,
  error      text,
  primary key (projection, generation)
);
-- What readers see.
create unique index generations_active on annals.generations (projection) where is_active;
${grantAs("select, insert, update, delete", "annals.generations")}
${commitFunction("create or replace function", NOTIFY_MESSAGES, PARTITIONED, SCHEDULED, TAGGED, SHARED)}`,
}];

const COMMIT = "annals.commit(bigint[], text[], text, text, text, text)";

/**
 * How commits to a partitioned log are planned. A part that was empty when it was analyzed passes for empty: the last
 * position would be looked for row by row. And plans for all parts take longer to make than to run.
 */
export const PARTITIONED_SETTINGS: readonly string[] = [
  `alter function ${COMMIT} set enable_seqscan = off`,
  `alter function ${COMMIT} set plan_cache_mode = force_generic_plan`,
];

/** Tells one schema's locks from another's. */
function lockKey(schema: string, which: string): string {
  let hash = 0xcbf29ce484222325n;
  for (const byte of new TextEncoder().encode(`${schema}/${which}`)) {
    hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  }
  return BigInt.asIntN(64, hash).toString();
}

/** The channel that tells of writes; PostgreSQL's names have at most 63 bytes. */
export function channelOf(schema: string): string {
  const name = `annals_${schema}`;
  return new TextEncoder().encode(name).length < 64 ? name : `annals_${lockKey(schema, "channel")}`;
}

/** The lock that migrations are made under. */
export function migrationLock(schema: string): string {
  return lockKey(schema, "migrations");
}

/** The lock that the log is partitioned under. */
export function partitionLock(schema: string): string {
  return lockKey(schema, "partitions");
}

/** SQL for one schema. */
export function forSchema(sql: string, schema: string): string {
  const name = `"${schema.replaceAll('"', '""')}".`;
  const inLiteral = (text: string) => text.replaceAll("'", "''");
  // Functions are between such quotes.
  const text = schema.includes("$$") ? sql.replaceAll("$$", () => "$annals_function$") : sql;
  // In one pass: a schema may be called like something that stands for something.
  return text.replaceAll(
    /'annals\.(\w+)'|\bannals\.|annals_lease_lock|annals_append_lock|annals_channel/g,
    (found, table) => {
      if (found === "annals.") return name;
      if (found === "annals_lease_lock") return lockKey(schema, "leases");
      if (found === "annals_append_lock") return lockKey(schema, "append");
      return found === "annals_channel" ? inLiteral(channelOf(schema)) : `'${inLiteral(name)}${table}'`;
    },
  );
}
