import { PART_END } from "./errors.ts";

/** What partitioning asks the database, and what it does there; `annals.` stands for the schema. */

/** The parts of a partitioned log. */
export const PARTS = `select c.relname as name, pg_get_expr(c.relpartbound, c.oid) as bound,
    pg_total_relation_size(c.oid) as bytes, t.spcname as tablespace
  from pg_inherits i join pg_class c on c.oid = i.inhrelid left join pg_tablespace t on t.oid = c.reltablespace
  where i.inhparent = to_regclass('annals.messages') and c.relispartition`;

/** What would go on with the first part only, or be lost: each with the reason. */
export const DEPENDENTS = `select 'view ' || v.oid::regclass::text as name
    from pg_depend d join pg_rewrite r on r.oid = d.objid and d.classid = 'pg_rewrite'::regclass
    join pg_class v on v.oid = r.ev_class
    where d.refobjid = 'annals.messages'::regclass
      and v.oid not in ('annals.outbox'::regclass, 'annals.messages'::regclass)
  union select 'rule ' || rulename::text from pg_rewrite where ev_class = 'annals.messages'::regclass
  union select 'foreign key of ' || conrelid::regclass::text from pg_constraint
    where confrelid = 'annals.messages'::regclass and contype = 'f'
  union select 'function ' || p.oid::regprocedure::text from pg_depend d join pg_proc p on p.oid = d.objid
    where d.classid = 'pg_proc'::regclass and d.refobjid = 'annals.messages'::regclass
  union select 'function ' || p.oid::regprocedure::text from pg_depend d join pg_proc p on p.oid = d.objid
    where d.classid = 'pg_proc'::regclass and d.refclassid = 'pg_type'::regclass
      and d.refobjid in (select unnest(array[c.reltype, t.typarray]) from pg_class c join pg_type t on t.oid = c.reltype
        where c.oid = 'annals.messages'::regclass)
  union select 'column ' || a.attrelid::regclass::text || '.' || a.attname::text from pg_attribute a
    where not a.attisdropped and a.atttypid in (select unnest(array[c.reltype, t.typarray]) from pg_class c
      join pg_type t on t.oid = c.reltype where c.oid = 'annals.messages'::regclass)
  union select 'constraint ' || conname::text from pg_constraint
    where conrelid = 'annals.messages'::regclass and contype in ('c', 'f', 'u', 'x') and conname <> '${PART_END}'
  union select 'publication ' || pubname::text || ' (set publish_via_partition_root = true)' from pg_publication
    where puballtables and not pubviaroot
  union select 'publication ' || p.pubname::text from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
    where r.prrelid = 'annals.messages'::regclass
  union select 'row-level security' from pg_class
    where oid = 'annals.messages'::regclass and (relrowsecurity or relforcerowsecurity)
  union select 'privileges on column ' || attname::text from pg_attribute
    where attrelid = 'annals.messages'::regclass and attacl is not null
  union select 'table ' || inhrelid::regclass::text from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where inhparent = 'annals.messages'::regclass and not c.relispartition`;

/** The privileges that others than the owner have on the first part. */
export const PRIVILEGES = `select case when a.grantee = 0 then 'public' else a.grantee::regrole::text end as role,
    a.privilege_type as privilege, a.is_grantable as grantable
  from pg_class c, aclexplode(c.relacl) a where c.oid = 'annals.messages_from_0'::regclass and a.grantee <> c.relowner`;

/** The owner of the log. */
export const OWNER = "select relowner::regrole::text as owner from pg_class where oid = 'annals.messages'::regclass";

/** Whether the part that has no end is written to, or a part was not closed in order. */
export const NEAR_END = `select exists (select from pg_constraint where conname = $1
    and connamespace = (select relnamespace from pg_class where oid = 'annals.messages'::regclass))
  or exists (select from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'annals.messages'::regclass and substring(pg_get_expr(c.relpartbound, c.oid)
      from $bound$FROM \\('?([0-9]+)'?\\) TO \\(MAXVALUE\\)$bound$)::bigint
      <= (select coalesce(max(m.position), 0) from annals.messages m))`;

/** Whether the session may change the table, and who may. */
export const MAY_CHANGE = `select relowner::regrole::text as owner, pg_has_role(relowner, 'usage') as may
  from pg_class where oid = 'annals.messages'::regclass`;

/** A message before a position that a group has deferred, or may replay; what groups that are gone have deferred is not. */
export const UNHANDLED = `(select "group", false as dead from annals.deferred
    where position < $1 and "group" <> all($2::text[]) limit 1)
  union all (select "group", true from annals.dead_letters where (message->>'position')::bigint < $1 limit 1)
  limit 1`;

/** What operators did is in one stream of a domain, which nobody loads and which goes on for good: it keeps no part. */
const NOT_AUDIT = "category not like '%::$operator'";

/** The streams of a part: those that go on after it, and aggregates that do not. */
export const STREAMS = (part: string): string =>
  `select count(*) filter (where h.version > x.version) as alive,
     min(x.stream) filter (where h.version > x.version) as example,
     count(*) filter (where x.category not like '%:command') as streams,
     min(x.stream) filter (where x.category not like '%:command') as some
   from (select stream, min(category) as category, max(version) as version from annals.${part} where ${NOT_AUDIT} group by stream) x
   join annals.stream_heads h on h.stream = x.stream`;

/** Whether a message before a position has tags. */
export const TAGGED_BEFORE = "select tag from annals.tags where position < $1 limit 1";

/** A stream of a part that has got messages since a position. */
export const MOVED = (part: string): string =>
  `select m.stream from annals.messages m where m.position > $1
     and exists (select from annals.${part} p where p.stream = m.stream and p.${NOT_AUDIT}) limit 1`;

/** Gives the streams of a part a version that nobody can have read: nothing is appended to them any more. */
export const SEAL = (part: string): string =>
  `update annals.stream_heads h set version = h.version + 1
   from (select distinct stream from annals.${part} where ${NOT_AUDIT}) x where h.stream = x.stream`;
