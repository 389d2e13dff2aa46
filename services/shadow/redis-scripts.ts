/**
 * What runs within Redis: Lua, each script one step that nothing comes between. Everything of a shard lies in seven keys
 * with one hash tag, so that a Redis Cluster keeps them on one node, and every script names all of them:
 *
 *   {holdfast:<shard>}:writer      hash    format; token of the writer; number of its last change
 *   {holdfast:<shard>}:positions   hash    queue id → epoch:offset
 *   {holdfast:<shard>}:things      hash    thing → stored-thing.ts
 *   {holdfast:<shard>}:index       zset    things, all with score 0: ordered by their bytes
 *   {holdfast:<shard>}:commands    hash    command → value
 *   {holdfast:<shard>}:order       zset    thing, 0, command; all with score 0
 *   {holdfast:<shard>}:due         zset    commands by when they are due
 *
 * Hashes and not a key for each thing: a script has to name its keys, and 10,000 names cost more than the values.
 *
 * A change comes as lists of arguments packed as MessagePack (redis-pack.ts), which `cmsgpack.unpack` hands to a command of
 * Redis as they are: no loop in Lua, and one argument to send for 1,000 things. Measured with 10,000 things of 600 bytes,
 * JavaScript thread: 0.5–0.8 µs a thing; 1.3 µs with plain arguments; 7 µs with a pipeline of SET. Redis itself takes the same
 * time for all scripts, whether they unpack so, by struct.unpack or not at all, and half that of the pipeline.
 *
 * A writer numbers its changes. The script holds a change only where the last number that Redis knows is one between the
 * last change that was confirmed to the writer and the change itself; that is how it tells a change that it has already
 * made (its reply was lost), one that comes late (by a connection that was given up), and that Redis has lost its last
 * second. Redis does not take back what a script did before it failed. So what can fail comes first: a first write that
 * Redis refuses (full, read-only, disk error) has nothing before it, and keys of a wrong type are refused by `open`.
 * With an append-only file the writes of a script stand there between MULTI and EXEC: a torn end is cut off whole.
 */
import { createHash } from 'node:crypto';

export interface Script {
  readonly source: string;
  /** What EVALSHA calls it by. */
  readonly sha: string;
}

/** Places of the keys in KEYS, counted from 1 as Lua does. */
export const KeyPlace = { writer: 1, positions: 2, things: 3, index: 4, commands: 5, order: 6, due: 7 } as const;

/** The keys of a shard, in the order of KeyPlace. */
export function keysOf(shard: string): readonly string[] {
  return Object.keys(KeyPlace).map((name) => `{holdfast:${shard}}:${name}`);
}

/** ARGV: token. Replies with nothing, or with what stands in the way. */
export const OPEN = script(`
local types = {'hash', 'hash', 'hash', 'zset', 'hash', 'zset', 'zset'}
for place, expected in ipairs(types) do
  local found = redis.call('TYPE', KEYS[place]).ok
  if found ~= 'none' and found ~= expected then return KEYS[place] .. ' is a ' .. found .. ', not a ' .. expected end
end
local format = redis.call('HGET', KEYS[1], 'format')
if format and format ~= '1' then return KEYS[1] .. ' says format ' .. format .. ', not 1' end
redis.call('HSET', KEYS[1], 'format', '1', 'token', ARGV[1], 'number', '0')
return ''
`);

/**
 * ARGV: token, number of the last change confirmed, number of this one, queue id ('' for none), position from, position
 * through; then for each command of Redis its name, the place of its key and its packed arguments.
 * Replies with `written`, `already`, or what stands in the way and what Redis has there.
 */
export const WRITE = script(`
local writer = redis.call('HMGET', KEYS[1], 'token', 'number')
if writer[1] ~= ARGV[1] then return {'token', writer[1] or ''} end
local last, number = tonumber(writer[2]), tonumber(ARGV[3])
if last == number then return {'already', ''} end
if last > number or last < tonumber(ARGV[2]) then return {'number', writer[2]} end
if ARGV[4] ~= '' then
  local position = redis.call('HGET', KEYS[2], ARGV[4]) or '0:0'
  if position ~= ARGV[5] then return {'position', position} end
end
for at = 7, #ARGV, 3 do
  local place = tonumber(ARGV[at + 1])
  local added = redis.call(ARGV[at], KEYS[place], cmsgpack.unpack(ARGV[at + 2]))
  if place == 3 and added > 0 then
    local pairs, members = {cmsgpack.unpack(ARGV[at + 2])}, {}
    for thing = 1, #pairs, 2 do
      members[thing] = '0'
      members[thing + 1] = pairs[thing]
    end
    redis.call('ZADD', KEYS[4], unpack(members))
  end
end
if ARGV[4] ~= '' then redis.call('HSET', KEYS[2], ARGV[4], ARGV[6]) end
redis.call('HSET', KEYS[1], 'number', ARGV[3])
return {'written', ''}
`);

/** ARGV: lexical start, limit. Replies with things, each followed by what its value begins with (stored-thing.ts). */
export const LIST = script(`
local things = redis.call('ZRANGEBYLEX', KEYS[4], ARGV[1], '+', 'LIMIT', 0, ARGV[2])
local listed = {}
for from = 1, #things, 1000 do
  local to = math.min(from + 999, #things)
  for place, stored in ipairs(redis.call('HMGET', KEYS[3], unpack(things, from, to))) do
    local _, type, site = struct.unpack('<BI4I4', stored)
    listed[#listed + 1] = things[from + place - 1]
    listed[#listed + 1] = string.sub(stored, 1, 9 + type + site)
  end
end
return listed
`);

function script(source: string): Script {
  return { source, sha: createHash('sha1').update(source).digest('hex') };
}
