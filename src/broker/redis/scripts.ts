/** A Redis script. */
export interface Script {
  /** Its source, in Lua. */
  readonly lua: string;
}

/** Lua: the newest position that a stream has had, 0 if there is no stream; or nothing, and the failure. */
const LAST_OF = `local function lastOf(key)
  local info = redis.pcall('XINFO', 'STREAM', key)
  if info.err then
    if string.find(info.err, 'no such key') then return 0 end
    return nil, info
  end
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return tonumber(string.match(info[i + 1], '^%d+')) end
  end
  return 0
end
`;

/**
 * Adds entries to streams, in order; entries at or below a stream's last id are skipped. If a stream has lost entries,
 * nothing is added to any.
 *
 * KEYS: the streams. ARGV: for each stream, the position it must have reached, the position before its first entry, and
 * the number of entries; then, stream by stream, position, envelope and payload of each entry.
 *
 * Returns the number added, or `{stream, last}` for the first stream that is behind.
 */
export const PUBLISH: Script = {
  lua: `
${LAST_OF}local lasts = {}
for i = 1, #KEYS do
  local last, failure = lastOf(KEYS[i])
  if failure then return failure end
  if last < tonumber(ARGV[i * 3 - 2]) then return {i, last} end
  lasts[i] = last
end
local at = #KEYS * 3
local added = 0
for i = 1, #KEYS do
  local previous = ARGV[i * 3 - 1]
  for _ = 1, tonumber(ARGV[i * 3]) do
    local position = ARGV[at + 1]
    if tonumber(position) > lasts[i] then
      redis.call('XADD', KEYS[i], position .. '-0', 'p', previous, 'e', ARGV[at + 2], 'd', ARGV[at + 3])
      added = added + 1
    end
    previous = position
    at = at + 3
  end
end
return added`,
};

/** Moves a group to a position, with nothing pending. KEYS: the stream. ARGV: group, id. */
export const SEEK: Script = {
  lua: `
redis.pcall('XGROUP', 'DESTROY', KEYS[1], ARGV[1])
return redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], ARGV[2], 'MKSTREAM')`,
};

/** Returns the newest position that each stream has had; 0 if there is no stream. KEYS: the streams. */
export const LASTS: Script = {
  lua: `
${LAST_OF}local lasts = {}
for i = 1, #KEYS do
  local last, failure = lastOf(KEYS[i])
  if failure then return failure end
  lasts[i] = last
end
return lasts`,
};
