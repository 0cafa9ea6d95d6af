"""The statements, as engine-notes §2 has them.

They are planned once for all sizes of tables and arrays, so none leaves the planner a choice
between an index and reading a table: arrays meet tables by `= ANY(array)`, by a jsonb map, or by
LATERAL with OFFSET 0, never by an equality join. Ids and numbers come as the texts of arrays, texts
and bodies as binary arrays (`%b`): lists of small ints would have changing types (B7).
`$NOW`, `$STAMP` and `$STATEMENT` are the time: see `timed`.
"""

from __future__ import annotations

from typing import Final

from django_infinitic.machine.messages import Kind

MICROS: Final = "(extract(epoch FROM {}) * 1000000)::int8"
"""A time as microseconds."""

READ_CLOCK: Final = """
SELECT $NOW, pg_snapshot_xmin(s)::text::int8, pg_snapshot_xmax(s)::text::int8
FROM pg_current_snapshot() s"""

READ_MESSAGES: Final = """
SELECT m.id, m.instance::text, m.kind, m.created, m.body, k.part
FROM unnest(%(parts)s::int8[], %(floors)s::xid8[]) k(part, floor)
CROSS JOIN LATERAL (SELECT id, instance, kind, created, body FROM infinitic_message
  WHERE part = k.part AND xid >= k.floor AND NOT parked AND id <> ALL(%(given)s::int8[])
  ORDER BY infinitic_message.xid, id LIMIT %(limit)s::int8) m"""

READ_TIMERS: Final = """
SELECT t.id::text, t.due, t.instance::text, t.body, k.part FROM unnest(%(parts)s::int8[]) k(part)
CROSS JOIN LATERAL (SELECT id, due, instance, body FROM infinitic_timer
  WHERE part = k.part AND due <= $STATEMENT AND id <> ALL(%(timers)s::uuid[])
  ORDER BY due LIMIT %(limit)s::int8) t
ORDER BY t.due, t.id"""

READ_NEXT_DUE: Final = """
SELECT min(t.due) FROM unnest(%(parts)s::int8[]) k(part)
CROSS JOIN LATERAL (SELECT due FROM infinitic_timer WHERE part = k.part AND due > $STATEMENT
  ORDER BY due LIMIT 1) t"""

READ_LANE: Final = """
SELECT m.id, m.instance::text, m.kind, m.body
FROM unnest(%(parts)s::int8[], %(floors)s::xid8[]) k(part, floor)
CROSS JOIN LATERAL (SELECT id, instance, kind, body, xid FROM infinitic_message
  WHERE part = k.part AND xid >= k.floor AND NOT parked
  ORDER BY infinitic_message.xid, id LIMIT %(limit)s::int8) m
ORDER BY m.xid, m.id"""

LOAD_INSTANCES: Final = """
SELECT id::text, workflow, version, status, tags::text, custom_id, meta::text, started_by,
  requester::text, streams, open, (extract(epoch FROM created_at) * 1000000)::int8,
  (extract(epoch FROM closed_at) * 1000000)::int8, method, crashes, error
FROM infinitic_instance WHERE id = ANY(%(ids)s::uuid[])"""

LOAD_EVENTS: Final = """
SELECT e.instance::text, e.stream, e.seq, e.step, e.body FROM unnest(%(ids)s::uuid[]) k(id)
CROSS JOIN LATERAL (SELECT open FROM infinitic_instance WHERE id = k.id OFFSET 0) i
CROSS JOIN LATERAL unnest(ARRAY[0, 1] || string_to_array(i.open, ',')::int4[]) s(n)
CROSS JOIN LATERAL (SELECT instance, stream, seq, step, body FROM infinitic_event
  WHERE instance = k.id AND stream = s.n ORDER BY seq OFFSET 0) e
ORDER BY e.instance, e.stream, e.seq"""

# -- writing: each of these that counts divides by zero when the count is not the expected one.

FENCE: Final = """
SELECT 1 / count(*) FROM (SELECT 1 FROM infinitic_worker WHERE id = %(me)s::int8 AND NOT dead
  FOR SHARE) f"""

CONSUME: Final = """
WITH d AS (DELETE FROM infinitic_message WHERE id = ANY(%(ids)s::int8[]) RETURNING 1)
SELECT 1 / (count(*) = %(n)s::int8)::int FROM d"""

PARK: Final = "UPDATE infinitic_message SET parked = true WHERE id = ANY(%(ids)s::int8[])"

DONE: Final = """
WITH d AS (DELETE FROM infinitic_task WHERE id = ANY(%(ids)s::uuid[])
  AND attempt = (%(attempts)s::jsonb ->> id::text)::int4 RETURNING 1)
SELECT 1 / (count(*) = %(n)s::int8)::int FROM d"""

RETRIED: Final = """
WITH d AS (UPDATE infinitic_task SET worker = NULL, state = 0,
  ready_at = (%(rows)s::jsonb -> id::text ->> 1)::int8,
  body = decode(%(rows)s::jsonb -> id::text ->> 2, 'base64')
  WHERE id = ANY(%(ids)s::uuid[]) AND attempt = (%(rows)s::jsonb -> id::text ->> 0)::int4
  RETURNING 1)
SELECT 1 / (count(*) = %(n)s::int8)::int FROM d"""

DROP_TIMERS: Final = "DELETE FROM infinitic_timer WHERE id = ANY(%(ids)s::uuid[])"

EVENTS: Final = """
INSERT INTO infinitic_event (instance, stream, seq, step, body)
SELECT * FROM unnest(%(instances)s::uuid[], %(streams)s::int4[], %(seqs)s::int4[],
  %(steps)s::int4[], %(bodies)b::bytea[])"""

CHILDREN: Final = """
WITH u AS (SELECT * FROM unnest(%(ids)s::uuid[], %(parts)s::int8[], %(workflows)b::text[],
    %(methods)b::text[], %(parents)s::uuid[], %(requesters)b::text[], %(tags)b::text[],
    %(metas)b::text[], %(started_bys)b::text[], %(bodies)b::bytea[]) WITH ORDINALITY
    u(id, part, workflow, method, parent, requester, tags, meta, started_by, body, n)),
  x AS (INSERT INTO infinitic_instance (id, part, workflow, method, status, parent, requester,
    tags, meta, started_by, created_at)
    SELECT id, part, workflow, method, 0, parent, requester::jsonb, tags::jsonb, meta::jsonb,
      started_by, $STAMP FROM u ON CONFLICT (id) DO NOTHING RETURNING id),
  g AS (INSERT INTO infinitic_tag (tag, workflow, ended, instance)
    SELECT t.tag, u.workflow, false, u.id FROM u
    CROSS JOIN LATERAL jsonb_array_elements_text(u.tags::jsonb) t(tag)
    WHERE u.id IN (SELECT id FROM x) AND t.tag NOT LIKE 'customId:%%' ON CONFLICT DO NOTHING)
INSERT INTO infinitic_message (part, instance, kind, created, body)
SELECT u.part, u.id, 0, $NOW, u.body FROM u WHERE u.id IN (SELECT id FROM x) ORDER BY u.n"""

LANE_STARTS: Final = """
INSERT INTO infinitic_message (part, instance, kind, created, body)
SELECT u.part, u.id, 0, $NOW, u.body FROM unnest(%(parts)s::int8[], %(ids)s::uuid[],
  %(bodies)b::bytea[]) WITH ORDINALITY u(part, id, body, n) ORDER BY u.n"""

# By id (0) or custom id (1) to one that runs, unless its start may still be in the lane: then the
# message goes there too, to be passed on; else what is `unknown` goes to the sender. By tag (2) to
# all but the sender; when they are many, the lane does it.
POSTS: Final = r"""
WITH u AS MATERIALIZED (SELECT * FROM unnest(%(to)s::int2[], %(workflows)b::text[],
    %(targets)s::uuid[], %(values)b::text[], %(lanes)s::int8[], %(kinds)s::int2[],
    %(bodies)b::bytea[], %(senders)s::uuid[], %(unknown)b::bytea[])
    WITH ORDINALITY u(kind_of, workflow, target, value, lane, kind, body, sender, unknown, n)),
  one AS MATERIALIZED (SELECT u.*, i.part, i.id AS hit, w.part AS waits FROM u
    LEFT JOIN LATERAL (SELECT c.instance FROM infinitic_custom_id c WHERE u.kind_of = 1
      AND c.custom_id = u.value AND c.workflow = u.workflow OFFSET 0) c ON true
    LEFT JOIN LATERAL (SELECT i.part, i.id, i.closed_at, i.workflow FROM infinitic_instance i
      WHERE i.id = coalesce(u.target, c.instance) OFFSET 0) a ON true
    LEFT JOIN LATERAL (SELECT a.part, a.id WHERE a.closed_at IS NULL
      AND (u.workflow = '' OR u.workflow = a.workflow)) i ON true
    LEFT JOIN LATERAL (SELECT m.part FROM infinitic_message m WHERE u.kind_of = 1
        AND m.part = u.lane AND NOT m.parked
      UNION ALL SELECT m.part FROM infinitic_message m WHERE u.kind_of = 0 AND a.id IS NULL
        AND m.instance = u.target LIMIT 1) w ON true
    WHERE u.kind_of < 2),
  tagged AS MATERIALIZED (SELECT u.n, u.kind, u.body, g.instance,
      count(*) OVER (PARTITION BY u.n) > %(tag_limit)s::int8 AS many FROM u
    CROSS JOIN LATERAL (SELECT g.instance FROM infinitic_tag g WHERE g.tag = u.value
        AND g.workflow = u.workflow AND NOT g.ended AND g.instance <> u.sender
      UNION ALL SELECT c.instance FROM infinitic_custom_id c WHERE u.value LIKE 'customId:%%'
        AND c.custom_id = substr(u.value, 10) AND c.workflow = u.workflow
        AND c.instance <> u.sender LIMIT %(tag_limit)s::int8 + 1) g
    WHERE u.kind_of = 2)
INSERT INTO infinitic_message (part, instance, kind, created, body)
SELECT r.part, r.id, r.kind, $NOW, r.body FROM (
  SELECT n, part, hit, kind, body FROM one WHERE waits IS NULL AND hit IS NOT NULL
  UNION ALL SELECT n, waits, coalesce(target, sender), kind, '\x0100'::bytea || convert_to(
      json_build_object('post', json_build_object('to', kind_of, 'workflow', nullif(workflow, ''),
        'value', value, 'sender', sender), 'body', encode(body, 'hex'),
        'unknown', CASE WHEN unknown <> '' THEN encode(unknown, 'hex') END)::text, 'UTF8')
    FROM one WHERE waits IS NOT NULL
  UNION ALL SELECT o.n, s.part, o.sender, $OUTCOME, o.unknown FROM one o
    CROSS JOIN LATERAL (SELECT part FROM infinitic_instance WHERE id = o.sender
      AND closed_at IS NULL OFFSET 0) s
    WHERE o.waits IS NULL AND o.hit IS NULL AND o.unknown <> ''
  UNION ALL SELECT t.n, i.part, i.id, t.kind, t.body FROM tagged t
    CROSS JOIN LATERAL (SELECT part, id FROM infinitic_instance WHERE id = t.instance
      AND closed_at IS NULL OFFSET 0) i
    WHERE NOT t.many
  UNION ALL SELECT u.n, u.lane, %(nobody)s::uuid, u.kind, '\x0100'::bytea || convert_to(
      json_build_object('fan', json_build_object('tag', value, 'workflow', workflow, 'after', '',
        'sender', sender), 'body', encode(body, 'hex'))::text, 'UTF8')
    FROM u WHERE u.n IN (SELECT n FROM tagged WHERE many)
  ) r(n, part, id, kind, body)
ORDER BY r.n, r.id"""

TASKS: Final = """
INSERT INTO infinitic_task (id, instance, part, workflow, service, name, stream, position, attempt,
  worker, state, delegated, ready_at, body)
SELECT u.id, u.instance, (SELECT part FROM infinitic_instance i WHERE i.id = u.instance),
  u.workflow, u.service, u.name, u.stream, u.position, u.attempt,
  CASE WHEN u.claimed THEN %(me)s::int8 END, u.claimed::int, u.delegated, u.ready_at, u.body
FROM unnest(%(ids)s::uuid[], %(instances)s::uuid[], %(workflows)b::text[], %(services)b::text[],
  %(names)b::text[], %(streams)s::int4[], %(positions)s::int4[], %(attempts)s::int4[],
  %(claimed)s::bool[], %(delegated)s::bool[], %(ready)s::int8[], %(bodies)b::bytea[])
  u(id, instance, workflow, service, name, stream, position, attempt, claimed, delegated, ready_at,
    body)"""

TIMERS: Final = """
INSERT INTO infinitic_timer (id, part, instance, due, body)
SELECT u.id, (SELECT part FROM infinitic_instance i WHERE i.id = u.instance), u.instance, u.due,
  u.body
FROM unnest(%(ids)s::uuid[], %(instances)s::uuid[], %(due)s::int8[], %(bodies)b::bytea[])
  u(id, instance, due, body)"""

OUTCOMES: Final = """
INSERT INTO infinitic_outcome (method, instance, seq, status, body)
SELECT * FROM unnest(%(methods)s::uuid[], %(instances)s::uuid[], %(seqs)s::int4[],
  %(statuses)s::int2[], %(bodies)b::bytea[])
ON CONFLICT (method) DO UPDATE
SET seq = excluded.seq, status = excluded.status, body = excluded.body"""

# The map is {id: [version, status, streams, open, closed_at, error, queued]}.
HEADS: Final = """
UPDATE infinitic_instance SET version = (%(rows)s::jsonb -> id::text ->> 0)::int4,
  status = (%(rows)s::jsonb -> id::text ->> 1)::int2,
  streams = (%(rows)s::jsonb -> id::text ->> 2)::int4,
  open = %(rows)s::jsonb -> id::text ->> 3,
  closed_at = 'epoch'::timestamptz
    + (%(rows)s::jsonb -> id::text ->> 4)::int8 * interval '1 microsecond',
  error = %(rows)s::jsonb -> id::text ->> 5,
  queued = (%(rows)s::jsonb -> id::text ->> 6)::int4
WHERE id = ANY(%(ids)s::uuid[])"""

# By ctid: the tags of an instance are touched by nobody but its owner.
END_TAGS: Final = """
UPDATE infinitic_tag SET ended = true WHERE ctid = ANY(ARRAY(
  SELECT g.at FROM unnest(%(instances)s::uuid[], %(tags)b::text[]) u(instance, tag)
  CROSS JOIN LATERAL (SELECT t.ctid AS at FROM infinitic_tag t WHERE t.tag = u.tag
    AND t.workflow = (SELECT i.workflow FROM infinitic_instance i WHERE i.id = u.instance)
    AND NOT t.ended AND t.instance = u.instance OFFSET 0) g))"""

# -- own attempts of delegated tasks: somebody may be answering them in a long transaction. The map
# is {id: [attempt, what, ready_at, body]}.

ANSWERED: Final = """
id = ANY(ARRAY(SELECT id FROM infinitic_task WHERE id = ANY(%(ids)s::uuid[]) AND state = 1
  AND attempt = (%(rows)s::jsonb -> id::text ->> 0)::int4
  AND %(rows)s::jsonb -> id::text ->> 1 = '{}' ORDER BY id FOR UPDATE SKIP LOCKED))"""

ANSWERED_DONE: Final = f"DELETE FROM infinitic_task WHERE {ANSWERED.format('done')}"

ANSWERED_RETRIED: Final = f"""
UPDATE infinitic_task SET worker = NULL, state = 0,
  ready_at = (%(rows)s::jsonb -> id::text ->> 2)::int8,
  body = decode(%(rows)s::jsonb -> id::text ->> 3, 'hex')
WHERE {ANSWERED.format("retried")}"""

DELEGATED: Final = f"""
UPDATE infinitic_task SET worker = NULL, state = 2, delegated = true
WHERE {ANSWERED.format("delegated")}"""

ANSWERED_LATE: Final = r"""
INSERT INTO infinitic_message (part, instance, kind, created, body)
SELECT part | 255, instance, $REPORT, $NOW, '\x0100'::bytea || convert_to(json_build_object(
  'late', %(rows)s::jsonb -> id::text -> 1, 'task', id, 'attempt', attempt,
  'ready_at', %(rows)s::jsonb -> id::text -> 2, 'body', %(rows)s::jsonb -> id::text -> 3
  )::text, 'UTF8')
FROM infinitic_task WHERE id = ANY(%(ids)s::uuid[]) AND state = 1
  AND attempt = (%(rows)s::jsonb -> id::text ->> 0)::int4
ORDER BY id"""

# -- cancels and timeouts of tasks: what people or executors have locked is left to the lane (A5).

REPORT_BODY: Final = r"""'\x0100'::bytea || convert_to(format(
  '{"s":%%s,"p":%%s,"task":"%%s","status":4,"value":null}', stream, position, id), 'UTF8')"""

CANCEL: Final = f"""
WITH c AS (SELECT id FROM infinitic_task WHERE id = ANY(%(ids)s::uuid[]) AND state <> 1
    ORDER BY id FOR UPDATE SKIP LOCKED),
  d AS (DELETE FROM infinitic_task WHERE id = ANY(ARRAY(SELECT id FROM c))
    RETURNING id, part, instance, stream, position)
INSERT INTO infinitic_message (part, instance, kind, created, body)
SELECT part, instance, $REPORT, $NOW, {REPORT_BODY} FROM d ORDER BY id"""

DELEGATED_CANCELED: Final = f"""
WITH d AS (DELETE FROM infinitic_task WHERE id = ANY(%(ids)s::uuid[]) AND mode = 1
    AND state = 2 RETURNING id, part, instance, stream, position)
INSERT INTO infinitic_message (part, instance, kind, created, body)
SELECT part, instance, $REPORT, $NOW, {REPORT_BODY} FROM d ORDER BY id"""

# `state < 1` keeps the planner from reading all that is queued, by its partial index.
EXPIRE: Final = """
DELETE FROM infinitic_task WHERE id = ANY(ARRAY(SELECT id FROM infinitic_task
  WHERE id = ANY(%(ids)s::uuid[]) AND state < 1 ORDER BY id FOR UPDATE SKIP LOCKED))"""

MARK: Final = """
UPDATE infinitic_task SET mode = %(mode)s::int2 WHERE id = ANY(ARRAY(SELECT id FROM infinitic_task
  WHERE id = ANY(%(ids)s::uuid[]) AND state = 1 AND (mode = 0 OR %(mode)s::int2 = 1)
  ORDER BY id FOR UPDATE SKIP LOCKED))"""

LEAVE: Final = r"""
INSERT INTO infinitic_message (part, instance, kind, created, body)
SELECT part | 255, instance, $CANCEL, $NOW, '\x0100'::bytea || convert_to(format(
  '{"task":"%%s","cancel":%%s}', id, %(mode)s::int2), 'UTF8')
FROM infinitic_task WHERE id = ANY(%(ids)s::uuid[])
  AND CASE %(mode)s::int2 WHEN 1 THEN mode <> 1 ELSE mode = 0 AND state < 2 END
ORDER BY id"""

# -- tasks

SERVICES: Final = """
WITH RECURSIVE s(service) AS (
  (SELECT service FROM infinitic_task WHERE state = 0 ORDER BY service LIMIT 1)
  UNION ALL SELECT (SELECT t.service FROM infinitic_task t WHERE t.state = 0
    AND t.service > s.service ORDER BY t.service LIMIT 1) FROM s WHERE s.service IS NOT NULL)
SELECT service FROM s WHERE service IS NOT NULL"""
"""The services that have queued tasks, by skipping through the index."""

# Priority 0 is the only one for now; naming it makes `ready_at` a bound of the index.
CLAIM: Final = """
WITH c AS MATERIALIZED (SELECT t.id, t.ready_at FROM ($SERVICES) s(service)
    CROSS JOIN LATERAL (SELECT id, ready_at FROM infinitic_task WHERE service = s.service
      AND state = 0 AND priority = 0 AND ready_at BETWEEN %(floor)s::int8 AND $STATEMENT
      ORDER BY ready_at, id LIMIT %(limit)s::int8 FOR UPDATE SKIP LOCKED) t
    ORDER BY t.ready_at, t.id LIMIT %(limit)s::int8),
  d AS (UPDATE infinitic_task SET worker = %(me)s::int8, attempt = attempt + 1, state = 1,
    ready_at = $STATEMENT WHERE id = ANY(ARRAY(SELECT id FROM c))
    RETURNING id, instance, workflow, service, name, attempt, body)
SELECT d.id::text, d.instance::text, d.workflow, d.service, d.name, d.attempt, d.body
FROM d JOIN c USING (id) ORDER BY c.ready_at, c.id"""

READY: Final = """
SELECT 1 FROM ($SERVICES) s(service) CROSS JOIN LATERAL (SELECT 1 FROM infinitic_task
  WHERE service = s.service AND state = 0 AND priority = 0
  AND ready_at BETWEEN %(floor)s::int8 AND $STATEMENT LIMIT 1) t LIMIT 1"""
"""Whether there is something to claim."""

FINISH: Final = """
WITH d AS (DELETE FROM infinitic_task WHERE id = %(id)s::uuid AND attempt = %(attempt)s::int4
    AND state = 1 RETURNING part, instance),
  m AS (INSERT INTO infinitic_message (part, instance, kind, created, body)
    SELECT part, instance, $REPORT, $NOW, %(body)s::bytea FROM d RETURNING 1)
SELECT count(*) FROM m"""

# -- starts

INSERT_INSTANCE: Final = """
x AS (INSERT INTO infinitic_instance (id, part, workflow, method, status, custom_id, parent,
    requester, tags, meta, started_by, created_at)
    SELECT %(id)s::uuid, %(part)s::int8, %(workflow)s::text, %(method)s::text, 0,
      %(custom_id)s::text, %(parent)s::uuid, %(requester)s::jsonb, %(tags)s::jsonb,
      %(meta)s::jsonb, %(started_by)s::text, $STAMP FROM c RETURNING 1),
  g AS (INSERT INTO infinitic_tag (tag, workflow, ended, instance)
    SELECT t.tag, %(workflow)s::text, false, %(id)s::uuid
    FROM c, unnest(%(tag_rows)s::text[]) t(tag)),
  m AS (INSERT INTO infinitic_message (part, instance, kind, created, body)
    SELECT %(part)s::int8, %(id)s::uuid, 0, $NOW, %(body)s::bytea FROM c RETURNING 1)
SELECT count(*) FROM m"""

START: Final = f"WITH c AS (SELECT 1),\n  {INSERT_INSTANCE}"

START_WITH_CLAIM: Final = f"""
WITH c AS (INSERT INTO infinitic_custom_id (custom_id, workflow, instance)
    VALUES (%(custom_id)s::text, %(workflow)s::text, %(id)s::uuid)
    ON CONFLICT DO NOTHING RETURNING 1),
  {INSERT_INSTANCE}"""

START_WITH_OLD_CLAIM: Final = f"""
WITH c AS (UPDATE infinitic_custom_id SET instance = %(id)s::uuid
    WHERE custom_id = %(custom_id)s::text AND workflow = %(workflow)s::text
    AND instance = %(old)s::uuid RETURNING 1),
  {INSERT_INSTANCE}"""

START_MANY: Final = """
WITH u AS MATERIALIZED (SELECT * FROM unnest(%(ids)s::uuid[], %(parts)s::int8[],
    %(workflows)s::text[], %(methods)s::text[], %(tags)s::text[], %(metas)s::text[],
    %(started_bys)s::text[], %(requesters)s::text[], %(parents)s::uuid[], %(bodies)s::bytea[])
    WITH ORDINALITY
    u(id, part, workflow, method, tags, meta, started_by, requester, parent, body, n)),
  x AS (INSERT INTO infinitic_instance (id, part, workflow, method, status, parent, requester,
    tags, meta, started_by, created_at)
    SELECT id, part, workflow, method, 0, parent, requester::jsonb, tags::jsonb, meta::jsonb,
      started_by, $STAMP FROM u),
  g AS (INSERT INTO infinitic_tag (tag, workflow, ended, instance)
    SELECT DISTINCT t.tag, u.workflow, false, u.id FROM u
    CROSS JOIN LATERAL jsonb_array_elements_text(u.tags::jsonb) t(tag)
    WHERE t.tag NOT LIKE 'customId:%%')
INSERT INTO infinitic_message (part, instance, kind, created, body)
SELECT u.part, u.id, 0, $NOW, u.body FROM u ORDER BY u.n"""

POST_BY_TAG: Final = """
WITH t AS MATERIALIZED (SELECT i.id, i.part FROM infinitic_tag g
    JOIN infinitic_instance i ON i.id = g.instance
    WHERE g.tag = %(tag)s AND g.workflow = %(workflow)s AND NOT g.ended AND i.closed_at IS NULL
    ORDER BY i.id LIMIT %(limit)s + 1),
  n AS (SELECT count(*) > %(limit)s AS many FROM t),
  m AS (INSERT INTO infinitic_message (part, instance, kind, created, body)
    SELECT t.part, t.id, %(kind)s, $NOW, %(body)s::bytea FROM t, n WHERE NOT n.many
    UNION ALL SELECT %(lane)s, %(nobody)s::uuid, %(kind)s, $NOW, %(fan)s::bytea FROM n
    WHERE n.many)
SELECT id FROM t"""


def timed(text: str, *, given: bool) -> str:
    """A statement with its time: the database's, or the parameter `now` (tests)."""
    if given:
        now = statement = "%(now)s::int8"
        stamp = "('epoch'::timestamptz + %(now)s::int8 * interval '1 microsecond')"
    else:
        now, statement = MICROS.format("clock_timestamp()"), MICROS.format("statement_timestamp()")
        stamp = "clock_timestamp()"
    kinds = {"$OUTCOME": Kind.OUTCOME, "$REPORT": Kind.REPORT, "$CANCEL": Kind.CANCEL}
    for name, kind in kinds.items():
        text = text.replace(name, str(int(kind)))
    return text.replace("$NOW", now).replace("$STATEMENT", statement).replace("$STAMP", stamp)
